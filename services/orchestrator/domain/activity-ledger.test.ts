import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ActivityEntry,
  type ActivityFailure,
  type ActivityRequest,
  backoffMs,
  cancelled,
  checkpointed,
  completed,
  declined,
  failed,
  isCurrent,
  isOver,
  leaseEnded,
  MAX_LOST_IN_A_ROW,
  schedule,
  started,
  yielded,
} from './activity-ledger.ts';

const request: ActivityRequest = {
  activityId: 'run_training',
  name: 'run_training',
  lane: 'gpu',
  input: null,
  startToCloseMs: 60_000,
  retry: { maxAttempts: 3, initialIntervalMs: 1_000, backoff: 2, maxIntervalMs: 300_000 },
};
const failure: ActivityFailure = {
  code: 'TrainerFailed',
  message: 'it broke',
  retryable: true,
  logTail: ['last line'],
};
const worker = { workerId: 'w1', incarnation: 'i1' };
const checkpoint = (step: number, epoch = 1) => ({ step, epoch, manifestKey: `e${epoch}/${step}`, digest: 'd' });
const running = (entry: ActivityEntry, atMs: number): ActivityEntry =>
  started(entry, { ...worker, startedAtMs: atMs }, atMs);

describe('retries', () => {
  it('a failed attempt is queued again under the next epoch after its back-off', () => {
    const { entry, outcome } = failed(schedule(request, 0), failure, 10, 500);
    expect(outcome).toBeNull();
    expect(entry).toMatchObject({ state: 'queued', epoch: 2, failures: 1, notBeforeMs: 1_500, queuedAtMs: 500 });
    expect(entry).toMatchObject({ startedAtMs: null, workerId: null, incarnation: null, lastFailure: failure });
  });

  it('the activity has failed with its last failure when the attempts are used up', () => {
    let entry = schedule(request, 0);
    for (const atMs of [1_000, 5_000]) entry = failed(entry, failure, atMs, atMs).entry;
    const last = failed(entry, { ...failure, message: 'third' }, 9_000, 9_000);
    expect(last.entry).toMatchObject({ state: 'failed', failures: 3, epoch: 3 });
    expect(last.outcome).toEqual({
      kind: 'failed',
      activityId: 'run_training',
      failure: { ...failure, message: 'third' },
    });
  });

  it('a failure that no retry can help fails the activity at once', () => {
    const step = failed(schedule(request, 0), { ...failure, retryable: false }, 0, 1);
    expect(step.entry.state).toBe('failed');
    expect(step.outcome).toMatchObject({ kind: 'failed', failure: { code: 'TrainerFailed' } });
  });

  it('waits grow by the factor up to the ceiling', () => {
    const retry = { maxAttempts: 99, initialIntervalMs: 1_000, backoff: 1.5, maxIntervalMs: 5_000 };
    expect([1, 2, 3, 4, 5, 6, 50].map((n) => backoffMs(retry, n))).toEqual([
      1_000, 1_500, 2_250, 3_375, 5_000, 5_000, 5_000,
    ]);
  });

  it('a wait is the ceiling even where the factor overflows', () => {
    expect(backoffMs({ ...request.retry, backoff: 10 }, 5_000)).toBe(300_000);
  });
});

describe('attempts that end without an answer', () => {
  it('a lost attempt starts again at once and burns no retry', () => {
    const { entry, outcome } = leaseEnded(running(schedule(request, 0), 10), 'lost', 500);
    expect(outcome).toBeNull();
    expect(entry).toMatchObject({ state: 'queued', epoch: 2, failures: 0, lostInARow: 1, notBeforeMs: 500 });
  });

  it(`an activity whose attempts are lost ${MAX_LOST_IN_A_ROW} times in a row without a checkpoint has failed for good`, () => {
    let step = { entry: schedule(request, 0), outcome: null } as ReturnType<typeof leaseEnded>;
    for (let n = 0; n < MAX_LOST_IN_A_ROW; n++) {
      expect(step.outcome).toBeNull();
      step = leaseEnded(running(step.entry, n * 100), 'lost', n * 100 + 50);
    }
    expect(step.entry.state).toBe('failed');
    expect(step.outcome).toMatchObject({ kind: 'failed', failure: { code: 'LeaseLost', retryable: false } });
  });

  it('a new checkpoint in between starts the count of lost attempts again', () => {
    let entry = schedule(request, 0);
    for (let n = 1; n <= 3 * MAX_LOST_IN_A_ROW; n++) {
      entry = checkpointed(running(entry, n * 100), checkpoint(n, n), n * 100 + 10);
      const step = leaseEnded(entry, 'lost', n * 100 + 20);
      expect(step.outcome).toBeNull();
      entry = step.entry;
    }
    expect(entry.lostInARow).toBe(1);
  });

  it('an attempt that nobody started is placed again and counts as nothing', () => {
    const { entry } = leaseEnded(schedule(request, 0), 'not_started', 60_000);
    expect(entry).toMatchObject({ state: 'queued', epoch: 2, failures: 0, lostInARow: 0, notBeforeMs: 60_000 });
    expect(entry.waitingMs).toBe(60_000);
  });

  it.each([
    ['stalled', 'LeaseStalled'],
    ['timed_out', 'StartToCloseTimeout'],
  ] as const)('a %s attempt counts as a failure with code %s', (reason, code) => {
    const { entry } = leaseEnded(running(schedule(request, 0), 10), reason, 500);
    expect(entry).toMatchObject({ epoch: 2, failures: 1, notBeforeMs: 1_500, lastFailure: { code } });
  });

  it('an attempt that yielded is queued again at once and burns nothing, however often', () => {
    let entry = schedule(request, 0);
    for (let n = 1; n <= 20; n++) entry = yielded(running(entry, n * 10), n * 10, n * 10 + 5).entry;
    expect(entry).toMatchObject({ state: 'queued', epoch: 21, failures: 0, lostInARow: 0, preemptions: 20 });
    expect(entry.notBeforeMs).toBe(205);
  });

  it('a declined attempt burns nothing; its pause doubles up to a ceiling and is short again after a start', () => {
    let entry = schedule(request, 0);
    const pauses: number[] = [];
    for (let n = 0; n < 10; n++) {
      entry = declined(entry, 0).entry;
      pauses.push(entry.notBeforeMs);
    }
    expect(pauses).toEqual([200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
    expect(entry).toMatchObject({ failures: 0, lostInARow: 0, epoch: 11 });
    entry = leaseEnded(running(entry, 10), 'lost', 20).entry;
    expect(declined(entry, 1_000).entry.notBeforeMs).toBe(1_200);
  });
});

describe('checkpoints', () => {
  it('an older step of the same attempt does not replace a newer one', () => {
    const entry = checkpointed(checkpointed(running(schedule(request, 0), 0), checkpoint(20), 1), checkpoint(10), 2);
    expect(entry.checkpoint?.step).toBe(20);
  });

  it('an attempt that fell back behind a damaged checkpoint counts its own checkpoints', () => {
    let entry = checkpointed(running(schedule(request, 0), 0), checkpoint(100, 1), 10);
    entry = running(leaseEnded(entry, 'lost', 20).entry, 30);
    entry = checkpointed(entry, checkpoint(60, 2), 40);
    expect(entry).toMatchObject({ checkpoint: { step: 60, epoch: 2 }, checkpointAtMs: 40, lostInARow: 0 });
  });

  it('the next attempt of a requeued activity resumes from the newest checkpoint', () => {
    const entry = checkpointed(running(schedule(request, 0), 0), checkpoint(30), 10);
    expect(leaseEnded(entry, 'lost', 20).entry.checkpoint).toEqual(checkpoint(30));
  });
});

describe('fencing', () => {
  it('only the current epoch of an activity that is not over may change it', () => {
    const entry = failed(schedule(request, 0), failure, 0, 1).entry;
    expect(isCurrent(entry, 1)).toBe(false);
    expect(isCurrent(entry, 2)).toBe(true);
    expect(isCurrent(entry, 3)).toBe(false);
    expect(isCurrent(cancelled(entry, 2), 2)).toBe(false);
    expect(isCurrent(completed(entry, null, 2, 2).entry, 2)).toBe(false);
  });

  it.each([
    ['queued', (entry: ActivityEntry) => entry],
    ['backing off', (entry: ActivityEntry) => failed(entry, failure, 0, 1).entry],
    ['running', (entry: ActivityEntry) => running(entry, 1)],
  ])('a %s activity can be cancelled', (_, prepare) => {
    const entry = cancelled(prepare(schedule(request, 0)), 100);
    expect(entry.state).toBe('cancelled');
    expect(entry.waitingMs + entry.usefulMs + entry.lostMs).toBe(100);
  });

  it.each([
    ['done', completed(schedule(request, 0), 1, 0, 5).entry],
    ['failed', failed(schedule(request, 0), { ...failure, retryable: false }, 0, 5).entry],
    ['cancelled', cancelled(schedule(request, 0), 5)],
  ])('a %s activity stays as it is when it is cancelled', (_, entry) => {
    expect(isOver(entry)).toBe(true);
    expect(cancelled(entry, 9)).toBe(entry);
  });
});

describe('lane time', () => {
  it('an attempt that is lost keeps the time up to its last checkpoint as useful', () => {
    const entry = checkpointed(running(schedule(request, 1_000), 1_200), checkpoint(5), 1_700);
    expect(leaseEnded(entry, 'lost', 2_000).entry).toMatchObject({ waitingMs: 200, usefulMs: 500, lostMs: 300 });
  });

  it('time of a completed attempt is useful, of a yielded one too, of a failed one without checkpoint lost', () => {
    const entry = schedule(request, 0);
    expect(completed(entry, null, 10, 30).entry).toMatchObject({ waitingMs: 10, usefulMs: 20, lostMs: 0 });
    expect(yielded(running(entry, 10), 10, 30).entry).toMatchObject({ waitingMs: 10, usefulMs: 20, lostMs: 0 });
    expect(failed(entry, failure, 10, 30).entry).toMatchObject({ waitingMs: 10, usefulMs: 0, lostMs: 20 });
  });

  type Op = { readonly kind: string; readonly afterMs: number; readonly clockMs: number; readonly step: number };
  const op: fc.Arbitrary<Op> = fc.record({
    kind: fc.constantFrom(
      'start',
      'checkpoint',
      'complete',
      'fail',
      'yield',
      'decline',
      'lost',
      'stalled',
      'timed_out',
      'not_started',
      'cancel',
    ),
    afterMs: fc.nat(10_000),
    // What the worker's clock says: minutes behind or ahead of ours.
    clockMs: fc.integer({ min: -500_000, max: 500_000 }),
    step: fc.nat(100),
  });

  it('waiting, useful and lost add up to the time since the activity was scheduled, up to the last change', () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 40 }), (ops) => {
        const t0 = 1_000_000;
        let nowMs = t0;
        let entry = schedule({ ...request, retry: { ...request.retry, maxAttempts: 20 } }, t0);
        for (const each of ops) {
          nowMs += each.afterMs;
          if (isOver(entry)) break;
          entry = applied(entry, each, nowMs + each.clockMs, nowMs);
          const bookedUntil = isOver(entry) ? nowMs : (entry.startedAtMs ?? entry.queuedAtMs);
          expect(entry.waitingMs + entry.usefulMs + entry.lostMs).toBe(bookedUntil - t0);
          expect(Math.min(entry.waitingMs, entry.usefulMs, entry.lostMs)).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  function applied(entry: ActivityEntry, { kind, step }: Op, workerMs: number, nowMs: number): ActivityEntry {
    switch (kind) {
      case 'start':
        return entry.state === 'running' ? entry : started(entry, { ...worker, startedAtMs: workerMs }, nowMs);
      case 'checkpoint':
        return checkpointed(entry, checkpoint(step, entry.epoch), nowMs);
      case 'complete':
        return completed(entry, null, workerMs, nowMs).entry;
      case 'fail':
        return failed(entry, failure, workerMs, nowMs).entry;
      case 'yield':
        return yielded(entry, workerMs, nowMs).entry;
      case 'decline':
        return declined(entry, nowMs).entry;
      case 'cancel':
        return cancelled(entry, nowMs);
      default:
        return leaseEnded(entry, kind as 'lost', nowMs).entry;
    }
  }
});
