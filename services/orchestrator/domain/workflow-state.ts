import { invariant } from '#lib/kernel/errors.ts';
import { Evolution } from './evolution.ts';
import type { Fact } from './facts.ts';
import type { Evolved, Start, WorkflowState } from './workflow-model.ts';
import type { WorkflowRegistry } from './workflows/registry.ts';

export type { Effect, WorkflowState } from './workflow-model.ts';

/** The fold: the state after `fact`, and what follows from it. Deterministic in its arguments; throws when the machine throws. */
export function evolve(
  registry: WorkflowRegistry,
  workflowId: string,
  state: WorkflowState | null,
  fact: Fact,
  atMs: number,
): Evolved {
  if (fact.type === 'WorkflowStarted') {
    invariant(state === null, `${workflowId} starts once`);
    return begin(registry, workflowId, fact.data, atMs);
  }
  invariant(state !== null, `${workflowId} has not started`);
  if (fact.type === 'LateMessageIgnored') return { state, effects: [] };
  const run = new Evolution(registry, state, atMs);
  run.apply(fact);
  return run.result();
}

function begin(registry: WorkflowRegistry, workflowId: string, data: Start, atMs: number): Evolved {
  const { input, ...start } = data;
  const machine = registry.machine(data.definition);
  if (machine === null) throw new Error(`no machine ${data.definition} in this release`);
  const first = machine.start(input);
  const state: WorkflowState = {
    workflowId,
    start,
    startedAtMs: atMs,
    machine: first.state,
    activities: {},
    timers: {},
    finish: null,
  };
  const run = new Evolution(registry, state, atMs);
  run.carryOut(first);
  return run.result();
}
