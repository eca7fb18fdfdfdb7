import type { AnyStateMachine } from 'xstate';
import { unknownContext } from './unknown-context.ts';

/** A machine as a picture and a table show it. */
export interface Flow {
  readonly initial: string;
  readonly states: readonly FlowState[];
}

export interface FlowState {
  readonly name: string;
  readonly work: Work;
  /** Where it leads to, in the order in which the machine tries; without the ends that every workflow has. */
  readonly next: readonly FlowEdge[];
}

export interface FlowEdge {
  readonly to: string;
  /** What has to happen; empty: at once, by what is known. */
  readonly on: string;
}

export type Work =
  | { readonly kind: 'activity'; readonly name: string; readonly lane: string; readonly startToCloseMs: number }
  | { readonly kind: 'child'; readonly jobType: string }
  | { readonly kind: 'approval'; readonly name: string }
  | { readonly kind: 'promotion'; readonly stage: string }
  | { readonly kind: 'canary' }
  | { readonly kind: 'coordinator' }
  | { readonly kind: 'choice' }
  | { readonly kind: 'end'; readonly status: string };

/** Reachable from everywhere: drawing them would hide the flow. */
const EVERYWHERE = new Set(['cancelled', 'timedOut', 'failed']);

/** What a machine does, read from the machine: its states, their entry actions and their transitions. */
export function flowOf(machine: AnyStateMachine): Flow {
  const nodes = Object.entries(machine.states) as [string, Node][];
  const initial = machine.root.initial.target[0]?.key ?? '';
  return {
    initial,
    states: nodes.flatMap(([name, node]) =>
      EVERYWHERE.has(name) ? [] : [{ name, work: workOf(node), next: edgesOf(node) }],
    ),
  };
}

interface Transition {
  readonly target?: string | readonly string[];
}
interface Action {
  readonly type?: string;
  readonly params?: unknown;
}
/** What is read of xstate's state nodes: they keep the declaration they were made of. */
interface Node {
  readonly type: string;
  readonly config: {
    readonly entry?: readonly Action[];
    readonly always?: readonly Transition[];
    readonly on?: Readonly<Record<string, readonly Transition[]>>;
  };
}

function workOf({ type, config: { entry = [] } }: Node): Work {
  const paramsOf = (name: string): Readonly<Record<string, unknown>> | null => {
    const action = entry.find((candidate) => candidate.type === name);
    return action === undefined ? null : evaluated(action.params);
  };
  const finish = paramsOf('finish');
  if (type === 'final' && finish !== null) return { kind: 'end', status: String(finish['status']) };
  const activity = paramsOf('startActivity');
  if (activity !== null)
    return {
      kind: 'activity',
      name: String(activity['name']),
      lane: String(activity['lane']),
      startToCloseMs: Number(activity['startToCloseMs']),
    };
  const child = paramsOf('startChild');
  if (child !== null) return { kind: 'child', jobType: String(child['jobType']) };
  const approval = paramsOf('requestApproval');
  if (approval !== null) return { kind: 'approval', name: String(approval['approval']) };
  const promotion = paramsOf('promote');
  if (promotion !== null) return { kind: 'promotion', stage: String(promotion['stage']) };
  if (entry.some((action) => action.type === 'startCanary')) return { kind: 'canary' };
  return entry.length > 0 ? { kind: 'coordinator' } : { kind: 'choice' };
}

/** Parameters of an action: a function of the context, of which only what does not depend on the job is read. */
function evaluated(params: unknown): Readonly<Record<string, unknown>> {
  const value: unknown =
    typeof params === 'function'
      ? (params as (args: object) => unknown)({ context: unknownContext(), event: unknownContext() })
      : params;
  return value as Readonly<Record<string, unknown>>;
}

const WORDS: Readonly<Record<string, string>> = {
  'activity.done': 'done',
  'approval.decided': 'decided',
  signal: 'told',
  timer: 'timer',
};

function edgesOf({ config: { always = [], on = {} } }: Node): FlowEdge[] {
  const edges = [
    ...always.map((transition) => ({ transition, on: '' })),
    ...Object.entries(on).flatMap(([event, transitions]) =>
      transitions.map((transition) => ({ transition, on: WORDS[event] ?? event })),
    ),
  ].flatMap(({ transition: { target }, on: event }) => {
    const to = typeof target === 'string' ? target : target?.[0];
    return to === undefined || EVERYWHERE.has(to) ? [] : [{ to, on: event }];
  });
  return edges.filter(({ to }, index) => edges.findIndex((edge) => edge.to === to) === index);
}
