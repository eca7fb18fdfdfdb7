import { describe, expect, it } from 'vitest';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { FULL_RELEASE, hpoInput, rlhfInput } from '../../../test/support/flows/flow-inputs.ts';
import { startOf, Story } from '../../../test/support/flows/story.ts';
import type { Fact } from '../domain/facts.ts';
import { PROFILES, workflowRegistry } from '../domain/workflows/registry.ts';
import { workflow } from '../domain/workflows/vocabulary.ts';
import { Announcements } from './announcements.ts';
import { Batch } from './batch.ts';
import { type Cell, jobStatusOf, newCell, unloadedCell, waitsForOthers, workflowRowOf } from './cell.ts';
import { Decider } from './decider.ts';
import { Dispatcher } from './dispatcher.ts';
import { ShardMemory } from './shard.ts';
import type { OrchestratorStore } from './store.ts';

const registry = workflowRegistry();
const decider = new Decider(
  registry,
  new ShardMemory({} as OrchestratorStore, registry),
  new Announcements(singleObjectCodec()),
);

/** Tells a cell the facts of a story, and places whatever is queued after each. */
function follow(story: Story, workflowId = 'wf'): { cell: Cell; batch: Batch; dispatcher: Dispatcher } {
  const cell = newCell(workflowId, 0);
  const dispatcher = new Dispatcher({ workerTimeoutMs: 1e9 });
  let batch = new Batch(0);
  let n = 0;
  for (const { fact, atMs } of story.facts) {
    batch = new Batch(atMs);
    const context = { batch, dispatcher, nowMs: atMs };
    decider.append(context, cell, fact, `m${n++}`);
    for (const entry of Object.values(cell.state?.activities ?? {})) {
      if (entry.state !== 'queued' || cell.paused) continue;
      dispatcher.workflowRuns(workflowId, 'demo');
      dispatcher.dequeue(workflowId, entry.request.activityId);
      decider.place(context, cell, entry.request.activityId, 'w1', 0, 1_000);
    }
  }
  return { cell, batch, dispatcher };
}

/** What a project that may run one workflow would still be allowed to place. */
function placesInOneSlot(dispatcher: Dispatcher): number {
  dispatcher.setCaps(new Map([['demo', 1]]));
  for (const lane of ['cpu', 'gpu'] as const)
    dispatcher.observe(
      { workerId: `free-${lane}`, incarnation: 'i', lane, slots: 9, running: [], partitions: [0] },
      1e15,
    );
  dispatcher.enqueue({
    workflowId: 'another',
    activityId: 'a',
    epoch: 1,
    lane: 'gpu',
    project: 'demo',
    priority: 1,
    submittedAtMs: 0,
    notBeforeMs: 0,
    workflowRuns: false,
  });
  return dispatcher.cycle(1e15).placements.length;
}

const training: readonly [string, ...string[]] = ['validate_preference_data', 'preprocess_preferences'];

// Found by reading: with a cap of one the search held the project's only place and its trials waited for it until the search timed out;
// with a cap of eight, eight pruned trials stopped every search of the project.
describe('the place of a workflow among the running ones of its project', () => {
  it('is held while something of it runs or waits for a slot', () => {
    const story = new Story(startOf('rlhf', rlhfInput()));
    for (const activity of training) story.answer(activity);
    const { cell, dispatcher } = follow(story);
    expect(cell.running).toBe(true);
    expect(placesInOneSlot(dispatcher)).toBe(0);
  });

  it('is given back by a search whose trials run: they need it', () => {
    const story = new Story(startOf('hpo', hpoInput({ trials: 2, maxConcurrent: 2 })));
    story.answer('generate_trial_configs-1');
    const { cell, dispatcher } = follow(story);
    expect(cell.running).toBe(false);
    expect(placesInOneSlot(dispatcher)).toBe(1);
    expect(jobStatusOf(registry, cell)).toBe('RUNNING');
  });

  it('is given back by a paused workflow when nothing of it runs any more', () => {
    const story = new Story(startOf('rlhf', rlhfInput()));
    for (const activity of training) story.answer(activity);
    story.begin('run_alignment_training');
    story.pause('Pruned');
    expect(follow(story).cell.running).toBe(true);
    story.yieldUp('run_alignment_training');
    const { cell, dispatcher } = follow(story);
    expect(cell.running).toBe(false);
    expect(placesInOneSlot(dispatcher)).toBe(1);
    expect(jobStatusOf(registry, cell)).toBe('PAUSED');
  });

  it('is given back by one that people have to approve', () => {
    const { cell, dispatcher } = follow(approving());
    expect(cell.running).toBe(false);
    expect(placesInOneSlot(dispatcher)).toBe(1);
    expect(jobStatusOf(registry, cell)).toBe('AWAITING_APPROVAL');
  });

  it('is asked for anew by a workflow that is tried again', () => {
    const story = new Story(startOf('rlhf', rlhfInput()));
    story.fail('validate_preference_data');
    story.retry();
    const cell = newCell('wf', 0);
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1e9 });
    let n = 0;
    for (const { fact, atMs } of story.facts) {
      const context = { batch: new Batch(atMs), dispatcher, nowMs: atMs };
      decider.append(context, cell, fact, `m${n++}`);
      if (fact.type === 'WorkflowStarted') cell.running = true;
    }
    expect(cell.running).toBe(false);
    expect(jobStatusOf(registry, cell)).toBe('QUEUED');
  });
});

// Found by reading: an approval that may take 72 hours ended a search TIMED_OUT at its 72nd hour, one of 30 days always.
describe('execution time', () => {
  const approve: Fact = {
    type: 'ApprovalVoted',
    data: { approval: 'release', by: 'ann', decision: 'approve', comment: null },
  };

  it('does not run while people or traffic decide, also for a workflow of which only the row is known', () => {
    const { cell } = follow(approving());
    expect(waitsForOthers(registry, cell)).toBe(true);
    expect(waitsForOthers(registry, unloadedCell(workflowRowOf(cell, null)))).toBe(true);
    const { cell: busy } = follow(new Story(startOf('rlhf', rlhfInput())));
    expect(waitsForOthers(registry, busy)).toBe(false);
    expect(waitsForOthers(registry, unloadedCell(workflowRowOf(busy, null)))).toBe(false);
  });

  it('starts anew when the wait is over and something is to be done after it', () => {
    const known = workflowRegistry(PROFILES, [asksFirst]);
    const memory = new ShardMemory({} as OrchestratorStore, known);
    const asking = new Decider(known, memory, new Announcements(singleObjectCodec()));
    const cell = newCell('wf', 0);
    const start = startOf('rlhf', null);
    if (start.type !== 'WorkflowStarted') throw new Error('it starts');
    const asked: Fact = { ...start, data: { ...start.data, definition: asksFirst.id } };
    asking.append({ batch: new Batch(1_000), dispatcher: null, nowMs: 1_000 }, cell, asked, 'start');
    expect(cell.header?.deadlineAtMs).toBe(1_000 + PROFILES.rlhf.executionTimeoutMs);
    const nowMs = 30 * 86_400_000;
    const batch = new Batch(nowMs);
    asking.append({ batch, dispatcher: null, nowMs }, cell, approve, 'ann');
    expect(cell.state?.machine.value).toBe('working');
    expect(cell.header?.deadlineAtMs).toBe(nowMs + PROFILES.rlhf.executionTimeoutMs);
    expect(batch.toCommit([], 'me').extras).toMatchObject([{ deadlineAtMs: cell.header?.deadlineAtMs }]);
  });
});

/** Waits for people before it does anything. */
const asksFirst = workflow<null>('asks_first@1', ({ asks, runs, ends }) => ({
  initial: 'asking',
  states: {
    asking: asks({
      approval: 'release',
      subject: () => ({ kind: 'release', model: { name: 'm', version: 1 }, artifacts: '', reports: {} }),
      policy: () => ({ required: 1, expiresAfterHours: 2_000, remindEveryHours: 24 }),
      onApproved: 'working',
      onRefused: 'done',
    }),
    working: runs('validate_dataset', { lane: 'cpu', startToClose: '1m', input: () => ({}) as never, onDone: 'done' }),
    done: ends('COMPLETED'),
  },
}));

function approving(release = FULL_RELEASE): Story {
  const story = new Story(startOf('rlhf', rlhfInput('dpo', release)));
  for (const activity of [
    ...training,
    'run_alignment_training',
    'run_safety_evaluation',
    'run_quality_evaluation',
    'register_aligned_model',
  ])
    story.answer(activity);
  return story;
}
