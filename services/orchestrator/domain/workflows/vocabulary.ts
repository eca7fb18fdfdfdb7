import { assign, setup } from 'xstate';
import type { ActivityInput, ActivityName, ActivityOutput } from '#lib/contracts/activities.ts';
import type { JobStatus } from '#lib/contracts/jobs.ts';
import { duration } from '#lib/kernel/duration.ts';
import type { ActivityFailure, Lane } from '../activity-ledger.ts';

/** What a machine remembers: its input and the output of every activity that is done. */
export interface WorkflowContext<Input> {
  readonly input: Input;
  readonly outputs: { readonly [A in ActivityName]?: ActivityOutput<A> };
  readonly failure: ActivityFailure | null;
}

/** What a machine is told. Retries, leases and epochs never reach it. */
export type WorkflowEvent =
  | { readonly type: 'activity.done'; readonly activity: string; readonly output: unknown }
  | { readonly type: 'activity.failed'; readonly activity: string; readonly failure: ActivityFailure }
  | { readonly type: 'cancel' }
  | { readonly type: 'timeout' }
  | { readonly type: 'timer'; readonly name: string };

/** What a machine asks for; the names of its actions. */
export type WorkflowAction =
  | { readonly type: 'startActivity'; readonly params: StartActivityParams }
  | { readonly type: 'setTimer'; readonly params: { readonly name: string; readonly afterMs: number } }
  | { readonly type: 'cancelTimer'; readonly params: { readonly name: string } }
  | { readonly type: 'finish'; readonly params: FinishParams };

export interface StartActivityParams {
  readonly activityId: string;
  readonly name: string;
  readonly lane: Lane;
  readonly input: unknown;
  readonly startToCloseMs: number;
}

export interface FinishParams {
  readonly status: JobStatus;
  readonly result: unknown;
  readonly failure: ActivityFailure | null;
}

type Ctx<Input> = WorkflowContext<Input>;

interface Branch<Input> {
  readonly when?: (context: Ctx<Input>) => boolean;
  readonly to: string;
}

interface Step<Input> {
  readonly kind: 'runs';
  readonly activity: string;
  readonly lane: Lane;
  readonly startToClose: string;
  readonly input: (context: Ctx<Input>) => unknown;
  readonly onDone: string | readonly Branch<Input>[];
}

interface Wait {
  readonly kind: 'waits';
  readonly timer: string;
  readonly for: string;
  readonly onFired: string;
}

interface End<Input> {
  readonly kind: 'ends';
  readonly status: JobStatus;
  readonly result: (context: Ctx<Input>) => unknown;
}

type StateDeclaration<Input> = Step<Input> | Wait | End<Input>;

/** The words of one workflow's flow, typed by its input. */
export interface Vocabulary<Input> {
  /** Runs one activity on a lane; its output is kept in `outputs` under the activity's name. */
  readonly runs: <A extends ActivityName>(
    activity: A,
    options: {
      readonly lane: Lane;
      /** Longest run of one attempt: `30m`, `24h`. */
      readonly startToClose: string;
      readonly input: (context: Ctx<Input>) => ActivityInput<A>;
      /** Next state; or branches, the first whose condition holds, the last without condition. */
      readonly onDone: string | readonly Branch<Input>[];
    },
  ) => StateDeclaration<Input>;
  /** Waits for a durable timer. */
  readonly waits: (options: {
    readonly timer: string;
    readonly for: string;
    /** Next state. */
    readonly onFired: string;
  }) => StateDeclaration<Input>;
  /** The end of the flow, with the job's final status and result. */
  readonly ends: (status: JobStatus, result?: (context: Ctx<Input>) => unknown) => StateDeclaration<Input>;
}

/**
 * Declares a machine version. `flow` names its states in the order a reader follows. Added for every workflow: `failed`
 * (an activity failed for good), `cancelled` and `timedOut`, reachable from every state that is not an end.
 */
export function workflow<Input>(
  definition: string,
  flow: (words: Vocabulary<Input>) => {
    readonly initial: string;
    readonly states: Record<string, StateDeclaration<Input>>;
  },
) {
  const { initial, states } = flow({
    runs: (activity, options) => ({ kind: 'runs', activity, ...options }),
    waits: (options) => ({ kind: 'waits', ...options }),
    ends: (status, result = () => null) => ({ kind: 'ends', status, result }),
  });
  const common: Record<string, StateDeclaration<Input>> = {
    failed: { kind: 'ends', status: 'FAILED', result: () => null },
    cancelled: { kind: 'ends', status: 'CANCELLED', result: () => null },
    timedOut: { kind: 'ends', status: 'TIMED_OUT', result: () => null },
  };
  const all = Object.entries({ ...states, ...common });
  return setup({
    // oxlint-disable-next-line typescript/no-unnecessary-type-assertion -- xstate reads its types from this cast
    types: {} as { context: Ctx<Input>; events: WorkflowEvent; input: Input },
    // Actions are data: `transition()` returns them, one module of app/ turns them into effects.
    actions: {
      startActivity: (_, _params: StartActivityParams) => undefined,
      setTimer: (_, _params: { name: string; afterMs: number }) => undefined,
      cancelTimer: (_, _params: { name: string }) => undefined,
      finish: (_, _params: FinishParams) => undefined,
    },
  }).createMachine({
    id: definition,
    initial,
    // xstate computes the initial context once more with no input at every transition (FACTS.md): reading a member of it would throw each time.
    context: ({ input }) => ({ input, outputs: {}, failure: null }),
    states: Object.fromEntries(all.map(([name, declaration]) => [name, stateNode(declaration)])),
  });
}

/** The state of one declaration. Its type is xstate's own; the checks that matter are `createMachine`'s, at start-up. */
function stateNode<Input>(declaration: StateDeclaration<Input>) {
  switch (declaration.kind) {
    case 'runs':
      return runsNode(declaration);
    case 'waits':
      return {
        entry: [{ type: 'setTimer' as const, params: { name: declaration.timer, afterMs: duration(declaration.for) } }],
        exit: [{ type: 'cancelTimer' as const, params: { name: declaration.timer } }],
        on: {
          timer: [
            {
              guard: ({ event }: { event: WorkflowEvent }) =>
                event.type === 'timer' && event.name === declaration.timer,
              target: declaration.onFired,
            },
          ],
          cancel: [{ target: 'cancelled' }],
          timeout: [{ target: 'timedOut' }],
        },
      };
    case 'ends':
      return {
        type: 'final' as const,
        entry: [
          {
            type: 'finish' as const,
            params: ({ context }: { context: Ctx<Input> }): FinishParams => ({
              status: declaration.status,
              result: declaration.result(context),
              failure: context.failure,
            }),
          },
        ],
      };
  }
}

function runsNode<Input>(step: Step<Input>) {
  type Args = { context: Ctx<Input>; event: WorkflowEvent };
  const isDone = (event: WorkflowEvent): boolean => event.type === 'activity.done' && event.activity === step.activity;
  const withOutput = (context: Ctx<Input>, event: WorkflowEvent): Ctx<Input> =>
    event.type === 'activity.done'
      ? { ...context, outputs: { ...context.outputs, [step.activity]: event.output } }
      : context;
  const branches: readonly Branch<Input>[] = typeof step.onDone === 'string' ? [{ to: step.onDone }] : step.onDone;
  const remember = assign<Ctx<Input>, WorkflowEvent, undefined, WorkflowEvent, never>(({ context, event }) => ({
    outputs: withOutput(context, event).outputs,
  }));
  const fail = assign<Ctx<Input>, WorkflowEvent, undefined, WorkflowEvent, never>(({ context, event }) => ({
    failure: event.type === 'activity.failed' ? event.failure : context.failure,
  }));
  return {
    entry: [
      {
        type: 'startActivity' as const,
        params: ({ context }: { context: Ctx<Input> }): StartActivityParams => ({
          activityId: step.activity,
          name: step.activity,
          lane: step.lane,
          input: step.input(context),
          startToCloseMs: duration(step.startToClose),
        }),
      },
    ],
    on: {
      'activity.done': branches.map((branch) => ({
        guard: ({ context, event }: Args) => isDone(event) && (branch.when?.(withOutput(context, event)) ?? true),
        target: branch.to,
        actions: [remember],
      })),
      'activity.failed': [
        {
          guard: ({ event }: Args) => event.type === 'activity.failed' && event.activity === step.activity,
          target: 'failed',
          actions: [fail],
        },
      ],
      cancel: [{ target: 'cancelled' }],
      timeout: [{ target: 'timedOut' }],
    },
  };
}

/** The output of an activity that the flow has passed; its absence is a bug of the flow. */
export function outputOf<A extends ActivityName>(context: WorkflowContext<unknown>, activity: A): ActivityOutput<A> {
  const output = context.outputs[activity];
  if (output === undefined) throw new Error(`${activity} has no output yet`);
  return output;
}
