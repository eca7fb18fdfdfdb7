import { type AnyStateMachine, setup } from 'xstate';
import type { ActivityName, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ApprovalRequest } from '../approval.ts';
import { stateNode } from './state-nodes.ts';
import type {
  ChildEnd,
  FinishParams,
  PromoteParams,
  SignalChildParams,
  StartActivityParams,
  StartCanaryParams,
  StartChildParams,
  StateDeclaration,
  Vocabulary,
  WorkflowContext,
  WorkflowEvent,
} from './workflow-types.ts';

/**
 * Declares a machine version. `flow` names its states in the order a reader follows. Added for every workflow: `failed`
 * (an activity or a coordinator failed for good), `cancelled` and `timedOut`, reachable from every state that is not an end.
 */
export function workflow<Input>(
  definition: string,
  flow: (words: Vocabulary<Input>) => {
    readonly initial: string;
    readonly states: Record<string, StateDeclaration<Input>>;
  },
): AnyStateMachine {
  const { initial, states } = flow(words<Input>());
  const { ends } = words<Input>();
  const all = Object.entries({
    ...states,
    failed: ends('FAILED'),
    cancelled: ends('CANCELLED'),
    timedOut: ends('TIMED_OUT'),
  });
  const machine = setup({
    // oxlint-disable-next-line typescript/no-unnecessary-type-assertion -- xstate reads its types from this cast
    types: {} as { context: WorkflowContext<Input>; events: WorkflowEvent; input: Input },
    // Actions are data: `transition()` returns them, one module of app/ turns them into effects.
    actions: {
      startActivity: (_, _params: StartActivityParams) => undefined,
      startChild: (_, _params: StartChildParams) => undefined,
      signalChild: (_, _params: SignalChildParams) => undefined,
      requestApproval: (_, _params: ApprovalRequest) => undefined,
      promote: (_, _params: PromoteParams) => undefined,
      startCanary: (_, _params: StartCanaryParams) => undefined,
      endCanary: (_, _params: { model: string; outcome: string }) => undefined,
      setTimer: (_, _params: { name: string; afterMs: number }) => undefined,
      cancelTimer: (_, _params: { name: string }) => undefined,
      finish: (_, _params: FinishParams) => undefined,
    },
  }).createMachine({
    id: definition,
    initial,
    // xstate computes the initial context once more with no input at every transition (FACTS.md): reading a member of it would throw each time.
    context: ({ input }) => ({ input, outputs: {}, failure: null }),
    // The nodes' types are xstate's own; the checks that matter are `createMachine`'s, at start-up.
    states: Object.fromEntries(all.map(([name, declaration]) => [name, stateNode(name, declaration)])) as never,
  });
  return machine as unknown as AnyStateMachine;
}

const words = <Input>(): Vocabulary<Input> => ({
  runs: (activity, options) => ({ kind: 'runs', activity, as: activity, ...options }),
  delegates: (jobType, options) => ({ kind: 'delegates', jobType, ...options }),
  coordinates: (coordinator, options) => ({ kind: 'coordinates', coordinator: coordinator as never, ...options }),
  chooses: (...next) => ({ kind: 'chooses', next }),
  waits: (options) => ({ kind: 'waits', ...options }),
  asks: (options) => ({ kind: 'asks', ...options }),
  promotes: (version, options) => ({ kind: 'promotes', version, ...options }),
  watches: (canary, options) => ({ kind: 'watches', canary, ...options }),
  ends: (status, result = () => null) => ({ kind: 'ends', status, result }),
});

/** The output of an activity that the flow has passed; its absence is a bug of the flow. */
export function outputOf<A extends ActivityName>(context: WorkflowContext<unknown>, activity: A): ActivityOutput<A> {
  const output = context.outputs[activity];
  if (output === undefined) throw new Error(`${activity} has no output yet`);
  return output;
}

/** How a child ended that the flow has waited for. */
export function childOf(context: WorkflowContext<unknown>, childId: string): ChildEnd {
  const child = context.children?.[childId];
  if (child === undefined) throw new Error(`child ${childId} has not ended yet`);
  return child;
}
