import { type AnyActorScope, type AnyMachineSnapshot, type AnyStateMachine, transition } from 'xstate';
import { invariant } from '#lib/kernel/errors.ts';
import type { JobStatus } from '#lib/contracts/jobs.ts';
import type { WorkflowAction, WorkflowEvent } from './workflows/workflow-types.ts';

/** A machine's state as data: its state's name and its context. Plain JSON; a stored one is restored by `machine.resolveState`. */
export interface MachineState {
  readonly value: string;
  readonly context: unknown;
}

export interface MachineStep {
  readonly state: MachineState;
  readonly actions: readonly WorkflowAction[];
  /** False when the machine has no transition for the event here: nothing changed. */
  readonly moved: boolean;
}

/** One machine version as pure functions. */
export interface MachineRunner {
  readonly definition: string;
  /** The first state and what it asks for. Throws when the input makes the machine throw. */
  start(input: unknown): MachineStep;
  /** One event. Throws when a guard throws, or when the state no longer exists in this machine. */
  step(state: MachineState, event: WorkflowEvent): MachineStep;
  /** What a job in this state is shown as; null = by whether anything of it has run. */
  statusOf(value: string): JobStatus | null;
  /** The state that runs an activity as its one step; null when none does. */
  stateRunning(activityId: string): string | null;
  /** Throws when a stored state does not exist in this machine. */
  restore(state: MachineState): void;
}

/**
 * Runs a machine through xstate's pure transitions, with two savings that change no result (`machine.test.ts` compares):
 * - States that came out of this runner keep their xstate snapshot in a cache; only a state read from storage is restored.
 * - One inert actor scope is shared by all steps. xstate's `transition()` and `initialTransition()` build a new one, with an actor and another
 *   initial snapshot, for every event: 16-24 us instead of 7-9 (measured in the design's spike, xstate 5.33). That snapshot has no input: a
 *   machine that reads a member of it throws inside, unseen, at every start.
 */
export function machineRunner(machine: AnyStateMachine): MachineRunner {
  const snapshots = new WeakMap<MachineState, AnyMachineSnapshot>();
  const scope = inertScope(machine);
  const keep = (snapshot: AnyMachineSnapshot, actions: readonly ExecutableAction[]): MachineStep => {
    const state = stateOf(snapshot);
    snapshots.set(state, snapshot);
    return { state, actions: actionsOf(actions), moved: true };
  };
  return {
    definition: machine.id,
    start(input) {
      const actions: ExecutableAction[] = [];
      scope.actionExecutor = (action) => actions.push(action);
      return keep(machine.getInitialSnapshot(scope, input) as AnyMachineSnapshot, actions);
    },
    step(state, event) {
      const before = snapshots.get(state) ?? machine.resolveState({ value: state.value, context: state.context });
      const actions: ExecutableAction[] = [];
      scope.actionExecutor = (action) => actions.push(action);
      const snapshot = machine.transition(before, event, scope) as AnyMachineSnapshot;
      return snapshot === before ? { state, actions: [], moved: false } : keep(snapshot, actions);
    },
    statusOf(value) {
      const meta = machine.root.states[value]?.meta as { readonly status?: JobStatus } | undefined;
      return meta?.status ?? null;
    },
    stateRunning(activityId) {
      const runs = (name: string): boolean =>
        (machine.root.states[name]?.meta as { readonly runs?: string } | undefined)?.runs === activityId;
      return Object.keys(machine.root.states).find(runs) ?? null;
    },
    restore(state) {
      machine.resolveState({ value: state.value, context: state.context });
    },
  };
}

/** The scope that xstate's own `transition()` hands to a machine: taken from one call of it. */
function inertScope(machine: AnyStateMachine): AnyActorScope {
  let scope: AnyActorScope | null = null;
  const listener = Object.create(machine, {
    transition: {
      value: (snapshot: AnyMachineSnapshot, _event: unknown, given: AnyActorScope) => {
        scope = given;
        return snapshot;
      },
    },
  }) as AnyStateMachine;
  transition(listener, machine.resolveState({ value: machine.root.initial.target[0]?.key ?? '', context: {} }), {
    type: 'cancel',
  });
  invariant(scope !== null, 'xstate hands a scope to the machine');
  return scope;
}

interface ExecutableAction {
  readonly type: string;
  readonly params?: unknown;
}

function stateOf(snapshot: AnyMachineSnapshot): MachineState {
  // xstate reports a state it cannot restore and an error inside an action by status, not by throwing.
  if (snapshot.status === 'error') throw snapshot.error ?? new Error('the machine ended in error');
  const value: unknown = snapshot.value;
  invariant(typeof value === 'string', 'machines are flat: one active state');
  return { value, context: snapshot.context };
}

/** The machine's actions as data; xstate's own (assign, raise) have been applied and are not ours to run. */
const actionsOf = (actions: readonly ExecutableAction[]): WorkflowAction[] =>
  actions
    .filter((action) => !action.type.startsWith('xstate.'))
    .map((action) => ({ type: action.type, params: action.params }) as WorkflowAction);
