import { type AnyStateMachine, initialTransition, transition } from 'xstate';
import { invariant } from '#lib/kernel/errors.ts';
import type { WorkflowAction, WorkflowEvent } from './workflows/vocabulary.ts';

/** A machine's state as data: its state's name and its context. Plain JSON, restored by `machine.resolveState`. */
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

/** The first state of a machine and what it asks for. Throws when the input makes the machine throw. */
export function startMachine(machine: AnyStateMachine, input: unknown): MachineStep {
  const [snapshot, actions] = initialTransition(machine, input);
  return { state: stateOf(snapshot), actions: actionsOf(actions), moved: true };
}

/** One event. Throws when a guard throws, or when the state no longer exists in this machine. */
export function stepMachine(machine: AnyStateMachine, state: MachineState, event: WorkflowEvent): MachineStep {
  const before = machine.resolveState({ value: state.value, context: state.context });
  const [snapshot, actions] = transition(machine, before, event);
  if (snapshot === before) return { state, actions: [], moved: false };
  return { state: stateOf(snapshot), actions: actionsOf(actions), moved: true };
}

function stateOf(snapshot: { value: unknown; context: unknown; status: string; error?: unknown }): MachineState {
  // xstate reports a state it cannot restore and an error inside an action by status, not by throwing.
  if (snapshot.status === 'error') throw snapshot.error ?? new Error('the machine ended in error');
  invariant(typeof snapshot.value === 'string', 'machines are flat: one active state');
  return { value: snapshot.value, context: snapshot.context };
}

/** The machine's actions as data; xstate's own (assign, raise) have been applied and are not ours to run. */
const actionsOf = (actions: readonly { readonly type: string; readonly params?: unknown }[]): WorkflowAction[] =>
  actions
    .filter((action) => !action.type.startsWith('xstate.'))
    .map((action) => ({ type: action.type, params: action.params }) as WorkflowAction);
