import { expect, it } from 'vitest';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { registryWithThreeSteps } from '../../../test/support/three-steps.ts';
import type { Fact } from '../domain/facts.ts';
import { evolve } from '../domain/workflow-state.ts';
import { Announcements } from './announcements.ts';
import { Batch } from './batch.ts';
import { type Cell, loadCell, newCell, workflowRowOf } from './cell.ts';
import { Decider } from './decider.ts';
import { ShardMemory } from './shard.ts';
import type { OrchestratorStore } from './store.ts';

const registry = registryWithThreeSteps();
const STARTED_MS = 50_000;
const SCHEDULED: Fact = {
  type: 'WorkflowStarted',
  data: {
    jobId: 'job',
    project: 'demo',
    jobType: 'three_steps',
    definition: 'three_steps@1',
    priority: 1,
    submittedAtMs: STARTED_MS,
    retry: { maxAttempts: 3, initialIntervalMs: 1, backoff: 1, maxIntervalMs: 1 },
    executionTimeoutMs: 1e9,
    input: { value: 1 },
  },
};
const COMPLETED: Fact = {
  type: 'ActivityCompleted',
  data: { activityId: 'first', epoch: 1, workerId: 'w', startedAtMs: 0, output: null },
};

/** Nothing of it is called: the cell is loaded already. */
const noStore = {} as OrchestratorStore;
const deciding = () =>
  new Decider(registry, new ShardMemory(noStore, registry), new Announcements(singleObjectCodec()));

/** The cell of a workflow that another orchestrator started at STARTED_MS, as it is read from the log, or from a snapshot. */
function takenOver(from: 'log' | 'snapshot'): Cell {
  const first = newCell('wf', 0);
  deciding().append({ batch: new Batch(STARTED_MS), dispatcher: null, nowMs: STARTED_MS }, first, SCHEDULED, 'start');
  const { state } = evolve(registry, 'wf', null, SCHEDULED, STARTED_MS);
  const cell = newCell('wf', 0);
  loadCell(registry, cell, {
    row: { ...workflowRowOf(first, null), snapshotSeq: from === 'snapshot' ? 1 : 0 },
    snapshot: from === 'snapshot' ? state : null,
    facts: from === 'log' ? [{ seq: 1, messageId: 'start', atMs: STARTED_MS, fact: SCHEDULED }] : [],
    messageIds: ['start'],
  });
  return cell;
}

// Found by the simulation: clock skew between orchestrators gave negative waiting times.
it.each(['log', 'snapshot'] as const)(
  'a fact is never logged before the one it follows, although this clock is behind that of the former owner (read from the %s)',
  (from) => {
    const cell = takenOver(from);
    const nowMs = STARTED_MS - 2_900;
    const batch = new Batch(nowMs);
    deciding().append({ batch, dispatcher: null, nowMs }, cell, COMPLETED, 'completed');
    expect(batch.events.map(({ seq, atMs }) => ({ seq, atMs }))).toEqual([{ seq: 2, atMs: STARTED_MS }]);
    const [row] = batch.toCommit([], 'me').activities;
    expect(row).toMatchObject({ state: 'done', waitingMs: 0, usefulMs: 0, lostMs: 0, endedAtMs: STARTED_MS });
  },
);

const PAUSED: Fact = { type: 'PauseRequested', data: { requestedBy: 'me', reason: null } };
const RESUMED: Fact = { type: 'ResumeRequested', data: { requestedBy: 'me' } };

/** A workflow whose first activity was placed and not heard of, and whoever decides for it. */
function placed() {
  const memory = new ShardMemory(noStore, registry);
  const decider = new Decider(registry, memory, new Announcements(singleObjectCodec()));
  const cell = newCell('wf', 0);
  const says = (fact: Fact, atMs: number): Batch => {
    const batch = new Batch(atMs);
    decider.append({ batch, dispatcher: null, nowMs: atMs }, cell, fact, `m${atMs}`);
    return batch;
  };
  says(SCHEDULED, STARTED_MS);
  const context = { batch: new Batch(STARTED_MS), dispatcher: null, nowMs: STARTED_MS };
  expect(decider.place(context, cell, 'first', 'w', 0, 1_000)).toBe(true);
  return { memory, cell, says };
}

// Found by the simulation: two workers ran one attempt.
it('an attempt that was placed and not heard of is not placed again under its epoch when its workflow is paused and resumed', () => {
  const { memory, says } = placed();
  says(PAUSED, STARTED_MS + 10);
  says(RESUMED, STARTED_MS + 20);
  expect([...memory.unplaced.values()]).toMatchObject([{ activityId: 'first', epoch: 2 }]);
  expect(memory.lease('wf', 'first')).toBeUndefined();
});

// Found by the simulation: a job that waited for people kept all others of a project with one place from running.
it('a workflow that rests gives its place in the cap to others, and waits for one when it goes on', () => {
  const { memory, cell, says } = placed();
  says({ type: 'LeaseEnded', data: { activityId: 'first', epoch: 1, reason: 'not_started' } }, STARTED_MS + 10);
  expect(cell.running).toBe(true);
  const batch = says(PAUSED, STARTED_MS + 20);
  expect(batch.toCommit([], 'me').workflows).toMatchObject([{ running: false, paused: true }]);
  says(RESUMED, STARTED_MS + 30);
  expect([...memory.unplaced.values()]).toMatchObject([{ activityId: 'first', epoch: 3, workflowRuns: false }]);
});
