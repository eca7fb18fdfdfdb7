import { assign, enqueueActions } from 'xstate';
import { duration } from '#lib/kernel/duration.ts';
import type { ActivityFailure } from '../activity-ledger.ts';
import type {
  Branch,
  Canary,
  CanaryOutcome,
  Coordinated,
  Coordination,
  Delegation,
  FinishParams,
  Next,
  PromoteParams,
  Promotion,
  Question,
  StateDeclaration,
  Step,
  Wait,
  WorkflowContext,
  WorkflowEvent,
} from './workflow-types.ts';

interface Args<Input> {
  readonly context: WorkflowContext<Input>;
  readonly event: WorkflowEvent;
}

/** A canary that nobody judged is over this long after its latest end. */
const VERDICT_GRACE_MS = 600_000;
const CANARY_TIMER = 'canary';
const HOUR_MS = 3_600_000;

/** Every state that is not an end can be left by these. */
const LEFT_BY = { cancel: [{ target: 'cancelled' }], timeout: [{ target: 'timedOut' }] };

/** The xstate node of one declaration. */
export function stateNode<Input>(name: string, declaration: StateDeclaration<Input>): object {
  switch (declaration.kind) {
    case 'runs':
      return runsNode(declaration);
    case 'delegates':
      return delegatesNode(declaration);
    case 'coordinates':
      return coordinatesNode(name, declaration);
    case 'chooses':
      return { always: branches(declaration.next), on: LEFT_BY };
    case 'waits':
      return waitsNode(declaration);
    case 'asks':
      return asksNode(declaration);
    case 'promotes':
      return promotesNode(declaration);
    case 'watches':
      return watchesNode(declaration);
    case 'ends':
      return {
        type: 'final',
        entry: [
          {
            type: 'finish',
            params: ({ context }: Args<Input>): FinishParams => ({
              status: declaration.status,
              result: declaration.result(context),
              failure: context.failure ?? (declaration.status === 'FAILED' ? failureOfChild(context) : null),
            }),
          },
        ],
      };
  }
}

/** Why a workflow failed that failed with its child. */
function failureOfChild({ children = {} }: WorkflowContext<unknown>): ActivityFailure | null {
  const failed = Object.values(children).find(({ status }) => status !== 'COMPLETED');
  if (failed === undefined) return null;
  const { jobId, status, error } = failed;
  const own = error as Partial<ActivityFailure> | null;
  const message = `child ${jobId} ended ${status}${own?.message === undefined ? '' : `: ${own.message}`}`;
  return { code: own?.code ?? 'ChildFailed', message, retryable: false, logTail: own?.logTail ?? [] };
}

/** Transitions to the first branch that holds, given what is remembered on the way. */
function branches<Input>(
  next: Next<Input>,
  holds: (event: WorkflowEvent) => boolean = () => true,
  after: (context: WorkflowContext<Input>, event: WorkflowEvent) => WorkflowContext<Input> = (context) => context,
) {
  const all: readonly Branch<Input>[] = typeof next === 'string' ? [{ to: next }] : next;
  return all.map((branch) => ({
    guard: ({ context, event }: Args<Input>) => holds(event) && (branch.when?.(after(context, event)) ?? true),
    target: branch.to,
    actions: [remember<Input>(after)],
  }));
}

const remember = <Input>(after: (context: WorkflowContext<Input>, event: WorkflowEvent) => WorkflowContext<Input>) =>
  assign<WorkflowContext<Input>, WorkflowEvent, undefined, WorkflowEvent, never>(({ context, event }) =>
    after(context, event),
  );

function runsNode<Input>(step: Step<Input>): object {
  const isDone = (event: WorkflowEvent): boolean => event.type === 'activity.done' && event.activity === step.as;
  const withOutput = (context: WorkflowContext<Input>, event: WorkflowEvent): WorkflowContext<Input> =>
    event.type === 'activity.done' ? { ...context, outputs: { ...context.outputs, [step.as]: event.output } } : context;
  return {
    meta: { runs: step.as },
    entry: [
      {
        type: 'startActivity',
        params: ({ context }: Args<Input>) => ({
          activityId: step.as,
          name: step.activity,
          lane: step.lane,
          input: step.input(context),
          startToCloseMs: duration(step.startToClose),
        }),
      },
    ],
    on: {
      'activity.done': branches(step.onDone, isDone, withOutput),
      'activity.failed': [
        {
          guard: ({ event }: Args<Input>) => event.type === 'activity.failed' && event.activity === step.as,
          target: 'failed',
          actions: [
            remember<Input>((context, event) =>
              event.type === 'activity.failed' ? { ...context, failure: event.failure } : context,
            ),
          ],
        },
      ],
      ...LEFT_BY,
    },
  };
}

function delegatesNode<Input>({ jobType, as, input, onEnded }: Delegation<Input>): object {
  const isEnd = (event: WorkflowEvent): boolean =>
    event.type === 'signal' && event.signal.signal === 'child.ended' && event.signal.data.child === as;
  return {
    entry: [
      {
        type: 'startChild',
        params: ({ context }: Args<Input>) => ({ childId: as, jobType, input: input(context), reports: null }),
      },
    ],
    on: { signal: branches(onEnded, isEnd, withChildEnd), ...LEFT_BY },
  };
}

function withChildEnd<Input>(context: WorkflowContext<Input>, event: WorkflowEvent): WorkflowContext<Input> {
  if (event.type !== 'signal' || event.signal.signal !== 'child.ended') return context;
  const { child, ...end } = event.signal.data;
  return { ...context, children: { ...context.children, [child]: end } };
}

function coordinatesNode<Input>(name: string, { coordinator, onDone }: Coordinated<Input>): object {
  type Step = Coordination<unknown>;
  const carryOut = (take: (args: Args<Input>) => Step) =>
    enqueueActions(({ context, event, enqueue }) => {
      const told = event as unknown as WorkflowEvent;
      const known = withChildEnd(context as unknown as WorkflowContext<Input>, told);
      const { state, actions, end } = take({ context: known, event: told });
      const coordination = { ...known.coordination, [name]: { state, ...(end === undefined ? {} : { end }) } };
      enqueue.assign({ ...known, coordination, ...(end == null ? {} : { failure: end }) });
      for (const action of actions) enqueue(action);
    });
  const handle = [
    {
      actions: [
        carryOut(({ context, event }) => coordinator.handle(context, context.coordination?.[name]?.state, event)),
      ],
    },
  ];
  const ended =
    (well: boolean) =>
    (context: WorkflowContext<Input>): boolean => {
      const end = context.coordination?.[name]?.end;
      return end !== undefined && (end === null) === well;
    };
  const next = typeof onDone === 'string' ? [{ to: onDone }] : onDone;
  return {
    entry: [carryOut(({ context }) => coordinator.start(context))],
    always: branches<Input>([
      { when: ended(false), to: 'failed' },
      ...next.map(({ when, to }) => ({
        when: (c: WorkflowContext<Input>) => ended(true)(c) && (when?.(c) ?? true),
        to,
      })),
    ]),
    on: { 'activity.done': handle, 'activity.failed': handle, signal: handle, ...LEFT_BY },
  };
}

function waitsNode({ timer, for: time, onFired }: Wait): object {
  return {
    entry: [{ type: 'setTimer', params: { name: timer, afterMs: duration(time) } }],
    exit: [{ type: 'cancelTimer', params: { name: timer } }],
    on: { timer: branches(onFired, (event) => isTimer(event, timer)), ...LEFT_BY },
  };
}

const isTimer = (event: WorkflowEvent, name: string): boolean => event.type === 'timer' && event.name === name;

function asksNode<Input>({ approval, subject, policy, onApproved, onRefused, ifCutOff }: Question<Input>): object {
  const is = (approved: boolean) => (event: WorkflowEvent) =>
    event.type === 'approval.decided' && event.approval === approval && (event.outcome === 'approved') === approved;
  const withOutcome = (context: WorkflowContext<Input>, event: WorkflowEvent): WorkflowContext<Input> =>
    event.type === 'approval.decided'
      ? { ...context, approvals: { ...context.approvals, [event.approval]: event.outcome } }
      : context;
  return {
    meta: { status: 'AWAITING_APPROVAL' },
    entry: [
      {
        type: 'requestApproval',
        params: ({ context }: Args<Input>) => ({ approval, subject: subject(context), policy: policy(context) }),
      },
    ],
    ...(ifCutOff === undefined
      ? {}
      : {
          exit: promotesIf<Input>(({ context, event }) =>
            event.type === 'approval.decided' ? null : ifCutOff(context),
          ),
        }),
    on: {
      'approval.decided': [
        ...branches<Input>(onApproved, is(true), withOutcome),
        ...branches<Input>(onRefused, is(false), withOutcome),
      ],
      ...LEFT_BY,
    },
  };
}

function promotesNode<Input>({ version, onDone }: Promotion<Input>): object {
  return {
    entry: [{ type: 'promote', params: ({ context }: Args<Input>) => version(context) }],
    always: [{ target: onDone }],
  };
}

/** An exit that promotes, or does nothing. */
const promotesIf = <Input>(choose: (args: Args<Input>) => PromoteParams | null) =>
  enqueueActions(({ context, event, enqueue }) => {
    const args = { context: context as unknown as WorkflowContext<Input>, event: event as unknown as WorkflowEvent };
    const params = choose(args);
    if (params !== null) enqueue({ type: 'promote', params });
  });

function watchesNode<Input>({ canary, onPass, onFail, onInconclusive }: Canary<Input>): object {
  const outcomeOf = (event: WorkflowEvent): CanaryOutcome | null => {
    if (isTimer(event, CANARY_TIMER)) return 'inconclusive';
    return event.type === 'signal' && event.signal.signal === 'canary.verdict' ? event.signal.data.outcome : null;
  };
  const withVerdict = (context: WorkflowContext<Input>, event: WorkflowEvent): WorkflowContext<Input> => {
    const outcome = outcomeOf(event);
    if (outcome === null) return context;
    const reports =
      event.type === 'signal' && event.signal.signal === 'canary.verdict' ? event.signal.data.reports : [];
    return { ...context, canary: { outcome, reports } };
  };
  const is = (outcome: CanaryOutcome) => (event: WorkflowEvent) => outcomeOf(event) === outcome;
  const inconclusive = branches<Input>(onInconclusive, is('inconclusive'), withVerdict);
  return {
    meta: { status: 'CANARY' },
    entry: [
      { type: 'startCanary', params: ({ context }: Args<Input>) => canary(context) },
      {
        type: 'setTimer',
        params: ({ context }: Args<Input>) => ({
          name: CANARY_TIMER,
          afterMs: Math.round(canary(context).settings.maximumHours * HOUR_MS) + VERDICT_GRACE_MS,
        }),
      },
    ],
    exit: [
      { type: 'cancelTimer', params: { name: CANARY_TIMER } },
      {
        type: 'endCanary',
        params: ({ context, event }: Args<Input>) => ({
          model: canary(context).model,
          outcome: outcomeOf(event) ?? 'cancelled',
        }),
      },
      // Cut off by a cancel or a time-out: the candidate does not stay where one waits for production.
      promotesIf<Input>(({ context, event }) => {
        if (outcomeOf(event) !== null) return null;
        const { model, version } = canary(context);
        return { model, version, stage: 'archived', reason: 'the canary was cut off' };
      }),
    ],
    on: {
      signal: [
        ...branches<Input>(onPass, is('pass'), withVerdict),
        ...branches<Input>(onFail, is('fail'), withVerdict),
        ...inconclusive,
      ],
      timer: inconclusive,
      ...LEFT_BY,
    },
  };
}
