import { type AnyStateMachine, type EventObject, initialTransition, transition } from 'xstate';

export interface Edge {
  readonly from: string;
  readonly event: string;
  readonly to: string;
  readonly guarded: boolean;
}

/** The event of a transition that is taken at once. */
export const PASSES = '';

/** Every declared transition of a flat machine. */
export function edgesOf(machine: AnyStateMachine): Edge[] {
  return Object.values(machine.states).flatMap((state) =>
    [...state.transitions.entries(), [PASSES, state.always ?? []] as const].flatMap(([event, transitions]) =>
      transitions.flatMap((each) =>
        (each.target ?? []).map((target) => ({
          from: state.key,
          event,
          to: target.key,
          guarded: each.guard !== undefined,
        })),
      ),
    ),
  );
}

/** Every path without a loop from one state to another, as names of states. */
export function everyPath(
  edges: readonly Edge[],
  from: string,
  to: string,
  behind: readonly string[] = [],
): string[][] {
  const path = [...behind, from];
  if (from === to) return [path];
  const next = new Set(edges.filter((edge) => edge.from === from && !path.includes(edge.to)).map((edge) => edge.to));
  return [...next].flatMap((state) => everyPath(edges, state, to, path));
}

/**
 * Runs the machine through every order of the events, with repetition, by the real transition function: the states it can be in and the
 * statuses it can finish with. Two situations are the same when state and remembered outputs are the same; the walk ends when none is new.
 */
export function reachableBy(
  machine: AnyStateMachine,
  input: unknown,
  events: readonly object[],
): { states: Set<string>; statuses: Set<string> } {
  const states = new Set<string>();
  const statuses = new Set<string>();
  const seen = new Set<string>();
  const [start] = initialTransition(machine, input);
  const open = [start];
  for (let snapshot = open.pop(); snapshot !== undefined; snapshot = open.pop()) {
    if (snapshot.status === 'error') throw snapshot.error;
    const { outputs } = snapshot.context as { outputs: Record<string, unknown> };
    const situation = `${String(snapshot.value)} ${Object.keys(outputs).sort().join(' ')}`;
    if (seen.has(situation)) continue;
    seen.add(situation);
    states.add(String(snapshot.value));
    for (const event of events) {
      const [next, actions] = transition(machine, snapshot, event as EventObject);
      for (const { type, params } of actions as unknown as readonly { type: string; params?: { status: string } }[])
        if (type === 'finish' && params !== undefined) statuses.add(params.status);
      open.push(next);
    }
  }
  return { states, statuses };
}
