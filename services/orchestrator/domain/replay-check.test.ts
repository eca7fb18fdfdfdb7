import { describe, expect, it } from 'vitest';
import {
  activityFailed,
  activityStarted,
  cancelRequested,
  checkpointSaved,
  upTo,
} from '../../../test/replay/fine-tune-facts.ts';
import { renamedFineTune } from '../../../test/replay/renamed-fine-tune.ts';
import { type FactAt, foldFacts, timed, WORKFLOW_ID } from '../../../test/support/given-when-then.ts';
import { beginReplay, replayFact, replayVerdict, type ReplayVerdict, type StoredProjection } from './replay-check.ts';
import { type WorkflowState } from './workflow-state.ts';
import { fineTune } from './workflows/fine-tune.ts';
import { PROFILES, workflowRegistry, type WorkflowRegistry } from './workflows/registry.ts';
import { workflow } from './workflows/vocabulary.ts';

const shipped = workflowRegistry();
const renamed = workflowRegistry(PROFILES, [renamedFineTune]);

/** A workflow in the middle of its training, after a failed attempt. */
const TRAINING = timed([
  ...upTo('run_training'),
  activityStarted('run_training', 1, 1_003_500),
  checkpointSaved(50, 1),
  activityFailed('run_training', 1),
]);

/** What an orchestrator of `registry` stores of this log; `snapshotAt`: facts behind the snapshot. */
function storedBy(registry: WorkflowRegistry, history: readonly FactAt[], snapshotAt = 0): StoredProjection {
  const state = foldFacts(registry, history);
  if (state === null) throw new Error('the history has a start');
  return {
    workflowId: WORKFLOW_ID,
    definition: state.start.definition,
    status: 'open',
    state: state.machine.value,
    seq: history.length,
    snapshot: snapshotAt === 0 ? null : asStored(foldFacts(registry, history.slice(0, snapshotAt))),
    snapshotSeq: snapshotAt,
    parkedReason: null,
    activities: Object.values(state.activities).map(({ request, ...entry }) => ({
      ...entry,
      activityId: request.activityId,
      startToCloseMs: request.startToCloseMs,
    })),
    timers: Object.entries(state.timers).map(([name, fireAtMs]) => ({ name, fireAtMs })),
  };
}

/** As jsonb gives it back: other objects, keys in another order. */
const asStored = (state: WorkflowState | null): WorkflowState =>
  JSON.parse(JSON.stringify(state), (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).toReversed())
      : value,
  ) as WorkflowState;

function check(
  registry: WorkflowRegistry,
  stored: StoredProjection,
  history: readonly FactAt[],
  writtenBy = shipped,
): Pick<ReplayVerdict, 'outcome' | 'reasons'> {
  let replay = beginReplay(stored);
  for (const [at, { fact, atMs }] of history.entries()) {
    const state = foldFacts(writtenBy, history.slice(0, at + 1))?.machine.value ?? '';
    replay = replayFact(registry, replay, { seq: at + 1, messageId: `m${at}`, atMs, fact, state });
  }
  const { outcome, reasons } = replayVerdict(registry, replay);
  return { outcome, reasons };
}

describe('a stored workflow on this code', () => {
  it.each([0, 1, 4, 6, TRAINING.length])('is the same when nothing changed, with a snapshot of fact %i', (at) => {
    expect(check(shipped, storedBy(shipped, TRAINING, at), TRAINING)).toEqual({ outcome: 'same', reasons: [] });
  });

  it('differs when its state has another name, and the first fact that leads elsewhere is named', () => {
    const { outcome, reasons } = check(renamed, storedBy(shipped, TRAINING), TRAINING);
    expect(outcome).toBe('differs');
    expect(reasons).toContain('fact 4 (ActivityCompleted) leads to trainingModel, and led to training');
    expect(reasons).toContain('state was training, is trainingModel');
  });

  it('gets stuck when its snapshot does not restore, even with no fact behind it', () => {
    const stored = storedBy(shipped, TRAINING, TRAINING.length);
    const { outcome, reasons } = check(renamed, stored, TRAINING);
    expect(outcome).toBe('stuck');
    expect(reasons.join()).toMatch(/from the snapshot: .*training/);
  });

  it('gets stuck when this release has no machine for its definition', () => {
    const stored = { ...storedBy(shipped, TRAINING), definition: 'fine_tune@9' };
    expect(check(shipped, stored, TRAINING)).toEqual({
      outcome: 'stuck',
      reasons: ['no machine fine_tune@9 in this release'],
    });
  });

  it('gets stuck when its machine throws', () => {
    const throwing = workflow<unknown>('fine_tune@1', ({ runs, ends }) => ({
      initial: 'validating',
      states: {
        validating: runs('validate_dataset', {
          lane: 'cpu',
          startToClose: '1m',
          input: () => ({}) as never,
          onDone: 'next',
        }),
        next: runs('preprocess_data', {
          lane: 'cpu',
          startToClose: '1m',
          input: () => {
            throw new Error('this release reads a member that nobody wrote');
          },
          onDone: 'completed',
        }),
        completed: ends('COMPLETED'),
      },
    }));
    const { outcome, reasons } = check(workflowRegistry(PROFILES, [throwing]), storedBy(shipped, TRAINING), TRAINING);
    expect(outcome).toBe('stuck');
    expect(reasons.join()).toMatch(/fact 2 \(ActivityCompleted\): .*nobody wrote/);
  });

  it('gets stuck on a log that lacks a fact in the middle or at its end', () => {
    const stored = storedBy(shipped, TRAINING);
    expect(check(shipped, stored, TRAINING.slice(0, -1))).toMatchObject({
      outcome: 'stuck',
      reasons: [`the log ends with fact ${TRAINING.length - 1}, the workflow is at ${TRAINING.length}`],
    });
    let replay = beginReplay(stored);
    for (const [at, { fact, atMs }] of TRAINING.entries())
      if (at !== 4) replay = replayFact(shipped, replay, { seq: at + 1, messageId: '', atMs, fact, state: '' });
    expect(replayVerdict(shipped, replay)).toMatchObject({ outcome: 'stuck', reasons: ['the log lacks fact 5'] });
  });

  it.each([
    ['state', { state: 'uploading' }, /state was uploading, is training/],
    ['a timer', { timers: [{ name: 'alarm', fireAtMs: 5 }] }, /timer alarm was 5, is absent/],
    ['an activity', { activities: [] }, /activity run_training was absent, is queued/],
  ])('differs from a projection with another %s', (_, changes, reason) => {
    const { outcome, reasons } = check(shipped, { ...storedBy(shipped, TRAINING), ...changes }, TRAINING);
    expect(outcome).toBe('differs');
    expect(reasons.join('\n')).toMatch(reason);
  });

  it.each([
    ['epoch', 7],
    ['failures', 0],
    ['preemptions', 3],
    ['notBeforeMs', 1],
    ['usefulMs', 1],
    ['startToCloseMs', 1],
  ])('differs when %s of an activity would be another', (member, value) => {
    const stored = storedBy(shipped, TRAINING);
    const activities = stored.activities.map((row) =>
      row.activityId === 'run_training' ? { ...row, [member]: value } : row,
    );
    const { outcome, reasons } = check(shipped, { ...stored, activities }, TRAINING);
    expect(outcome).toBe('differs');
    expect(reasons.join()).toMatch(new RegExp(`run_training: ${member} was ${value}, is `));
  });

  it('differs when it would have ended', () => {
    const history = [...TRAINING, ...timed([cancelRequested])];
    const stored = { ...storedBy(shipped, TRAINING), seq: history.length };
    expect(check(shipped, stored, history).reasons).toContain('it would have ended CANCELLED');
  });

  it('differs when snapshot and log lead to different states', () => {
    const stored = storedBy(shipped, TRAINING, 5);
    const snapshot = { ...asStored(stored.snapshot), startedAtMs: 1 };
    expect(check(shipped, { ...stored, snapshot }, TRAINING)).toEqual({
      outcome: 'differs',
      reasons: ['the snapshot of fact 5 and the log lead to different states'],
    });
  });

  it('that was parked stays parked, or resumes with a release that can fold it', () => {
    const before = storedBy(shipped, TRAINING.slice(0, 4), 4);
    const parked = { ...before, status: 'parked' as const, seq: TRAINING.length, parkedReason: 'it threw' };
    expect(check(renamed, parked, TRAINING)).toMatchObject({ outcome: 'parked' });
    expect(check(workflowRegistry(PROFILES, [fineTune]), parked, TRAINING)).toEqual({
      outcome: 'resumes',
      reasons: ['was parked: it threw'],
    });
  });
});
