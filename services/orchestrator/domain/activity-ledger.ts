import { invariant } from '#lib/kernel/errors.ts';

/** Lanes of work: each has its own topic, worker pool, queue and slots. */
export type Lane = 'cpu' | 'gpu';

/** How often and how patiently an activity is tried. */
export interface RetryPolicy {
  /** Failed attempts after which the activity has failed; preemption and lost workers do not count. */
  readonly maxAttempts: number;
  /** Wait before the second attempt, ms. */
  readonly initialIntervalMs: number;
  /** Factor between two waits, from 1. */
  readonly backoff: number;
  readonly maxIntervalMs: number;
}

/** What a workflow asks for when it starts an activity. */
export interface ActivityRequest {
  /** Unique within the workflow. */
  readonly activityId: string;
  readonly name: string;
  readonly lane: Lane;
  readonly input: unknown;
  /** One attempt may run this long, ms. */
  readonly startToCloseMs: number;
  readonly retry: RetryPolicy;
}

export interface Checkpoint {
  readonly step: number;
  readonly manifestKey: string;
  readonly digest: string;
  readonly epoch: number;
}

/** Why an attempt is over without an answer of its own. */
export type LeaseEnd = 'lost' | 'stalled' | 'timed_out' | 'not_started';

export interface ActivityFailure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly logTail: readonly string[];
}

/**
 * States of an activity. `queued` covers waiting for a slot, back-off (`notBeforeMs` in the future) and being placed but not heard of:
 * placement is the dispatcher's business and not in the log. Entries: scheduled -> queued -> running -> done | failed | cancelled;
 * running or queued -> queued again with the next epoch when an attempt ends without result.
 */
type ActivityState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';

export interface ActivityEntry {
  readonly request: ActivityRequest;
  readonly state: ActivityState;
  /** Number of the current attempt, from 1: the fencing token. */
  readonly epoch: number;
  /** Attempts that failed by themselves. */
  readonly failures: number;
  readonly preemptions: number;
  /** Attempts in a row that ended with their worker, without a new checkpoint in between. */
  readonly lostInARow: number;
  /** Attempts in a row that no worker took. */
  readonly declinedInARow: number;
  readonly notBeforeMs: number;
  readonly queuedAtMs: number;
  readonly startedAtMs: number | null;
  readonly workerId: string | null;
  readonly incarnation: string | null;
  readonly checkpoint: Checkpoint | null;
  /** When the newest checkpoint of the current attempt was reported. */
  readonly checkpointAtMs: number | null;
  readonly lastFailure: ActivityFailure | null;
  /** Lane time so far by fate; the three add up to the time since the activity was scheduled, up to the last change. */
  readonly waitingMs: number;
  readonly usefulMs: number;
  readonly lostMs: number;
}

/**
 * A job whose attempts take their workers down must end; a job that was unlucky with its machines must not. Five in a row
 * without a single new checkpoint is no longer bad luck.
 */
export const MAX_LOST_IN_A_ROW = 5;

/** What the ledger tells the machine about an activity that is over. */
export type LedgerOutcome =
  | { readonly kind: 'done'; readonly activityId: string; readonly output: unknown }
  | { readonly kind: 'failed'; readonly activityId: string; readonly failure: ActivityFailure };

export interface LedgerStep {
  readonly entry: ActivityEntry;
  readonly outcome: LedgerOutcome | null;
}

export function schedule(request: ActivityRequest, atMs: number): ActivityEntry {
  return {
    request,
    state: 'queued',
    epoch: 1,
    failures: 0,
    preemptions: 0,
    lostInARow: 0,
    declinedInARow: 0,
    notBeforeMs: atMs,
    queuedAtMs: atMs,
    startedAtMs: null,
    workerId: null,
    incarnation: null,
    checkpoint: null,
    checkpointAtMs: null,
    lastFailure: null,
    waitingMs: 0,
    usefulMs: 0,
    lostMs: 0,
  };
}

/** True while an attempt of this epoch may still change the activity. */
export const isCurrent = (entry: ActivityEntry, epoch: number): boolean =>
  entry.epoch === epoch && (entry.state === 'queued' || entry.state === 'running');

export const isOver = (entry: ActivityEntry): boolean => entry.state !== 'queued' && entry.state !== 'running';

export function started(
  entry: ActivityEntry,
  start: { workerId: string; incarnation: string; startedAtMs: number },
  atMs: number,
): ActivityEntry {
  const startedAtMs = clamp(start.startedAtMs, entry.queuedAtMs, atMs);
  return {
    ...entry,
    state: 'running',
    declinedInARow: 0,
    workerId: start.workerId,
    incarnation: start.incarnation,
    startedAtMs,
    waitingMs: entry.waitingMs + (startedAtMs - entry.queuedAtMs),
  };
}

/** The newest checkpoint: of the highest epoch, then step. An attempt that had to resume from an older one than we know counts from there. */
export function checkpointed(entry: ActivityEntry, checkpoint: Checkpoint, atMs: number): ActivityEntry {
  const known = entry.checkpoint;
  if (known !== null && known.epoch === checkpoint.epoch && known.step > checkpoint.step) return entry;
  return { ...entry, checkpoint, checkpointAtMs: atMs, lostInARow: 0 };
}

export function completed(entry: ActivityEntry, output: unknown, startedAtMs: number, atMs: number): LedgerStep {
  const open = withStart(entry, startedAtMs, atMs);
  const closed = { ...open, state: 'done' as const, usefulMs: open.usefulMs + runMs(open, atMs) };
  return { entry: closed, outcome: { kind: 'done', activityId: entry.request.activityId, output } };
}

/** An attempt failed by itself: tried again after back-off, or the activity has failed. */
export function failed(entry: ActivityEntry, failure: ActivityFailure, startedAtMs: number, atMs: number): LedgerStep {
  const closed = closeAttempt(withStart(entry, startedAtMs, atMs), atMs);
  const failures = entry.failures + 1;
  if (!failure.retryable || failures >= entry.request.retry.maxAttempts)
    return giveUp({ ...closed, failures }, failure);
  const wait = backoffMs(entry.request.retry, failures);
  return { entry: requeue({ ...closed, failures, lastFailure: failure }, atMs, wait), outcome: null };
}

/** The lease on the current attempt ended: the next epoch starts from the newest checkpoint. */
export function leaseEnded(entry: ActivityEntry, reason: LeaseEnd, atMs: number): LedgerStep {
  switch (reason) {
    case 'not_started':
      return { entry: requeue(closeAttempt(entry, atMs), atMs, 0), outcome: null };
    case 'lost': {
      const closed = closeAttempt(entry, atMs);
      const lostInARow = entry.lostInARow + 1;
      const failure = leaseFailure('LeaseLost', 'the worker stopped sending heartbeats');
      if (lostInARow >= MAX_LOST_IN_A_ROW) return giveUp(closed, { ...failure, retryable: false });
      return { entry: requeue({ ...closed, lostInARow, lastFailure: failure }, atMs, 0), outcome: null };
    }
    case 'stalled':
      return failed(entry, leaseFailure('LeaseStalled', 'the attempt made no progress'), atMs, atMs);
    case 'timed_out':
      return failed(entry, leaseFailure('StartToCloseTimeout', 'the attempt ran longer than allowed'), atMs, atMs);
  }
}

/** A worker gave the attempt back with its state stored (stopping, preemption): requeued at once, burns nothing. */
export function yielded(entry: ActivityEntry, startedAtMs: number, atMs: number): LedgerStep {
  const open = withStart(entry, startedAtMs, atMs);
  const closed = { ...open, usefulMs: open.usefulMs + runMs(open, atMs), preemptions: entry.preemptions + 1 };
  return { entry: requeue(closed, atMs, 0), outcome: null };
}

/** Time a declined activity waits before it is placed again: the worker's announcement needs that long to correct itself. */
const DECLINED_PAUSE_MS = 200;

/** The pause doubles up to this: an activity that no worker of the lane knows must not fill its log five times a second. */
const LONGEST_DECLINED_PAUSE_MS = 30_000;

/** A worker had no room after all: queued again under a new epoch after a growing pause, burns nothing. */
export function declined(entry: ActivityEntry, atMs: number): LedgerStep {
  const pauseMs = Math.min(LONGEST_DECLINED_PAUSE_MS, DECLINED_PAUSE_MS * 2 ** entry.declinedInARow);
  const closed = { ...closeAttempt(entry, atMs), declinedInARow: entry.declinedInARow + 1 };
  return { entry: requeue(closed, atMs, pauseMs), outcome: null };
}

/** Taken out of the queue: if it was placed, a command is on its way to a worker, and that must not run under the number of a later attempt. */
export function withdrawn(entry: ActivityEntry, atMs: number): ActivityEntry {
  return requeue(closeAttempt(entry, atMs), atMs, Math.max(0, entry.notBeforeMs - atMs));
}

/** A failed activity gets a full set of attempts again and goes on from its newest checkpoint. */
export function retried(entry: ActivityEntry, atMs: number): ActivityEntry {
  return requeue({ ...entry, failures: 0, lostInARow: 0, declinedInARow: 0 }, atMs, 0);
}

export function cancelled(entry: ActivityEntry, atMs: number): ActivityEntry {
  return isOver(entry) ? entry : { ...closeAttempt(entry, atMs), state: 'cancelled' };
}

/** Wait before the next attempt after `failures` failed ones: initial * backoff^(failures-1), at most the maximum. */
export const backoffMs = (retry: RetryPolicy, failures: number): number =>
  Math.min(retry.maxIntervalMs, Math.round(retry.initialIntervalMs * retry.backoff ** (failures - 1)));

const leaseFailure = (code: string, message: string): ActivityFailure => ({
  code,
  message,
  retryable: true,
  logTail: [],
});

const giveUp = (entry: ActivityEntry, failure: ActivityFailure): LedgerStep => ({
  entry: { ...entry, state: 'failed', lastFailure: failure },
  outcome: { kind: 'failed', activityId: entry.request.activityId, failure },
});

function requeue(entry: ActivityEntry, atMs: number, waitMs: number): ActivityEntry {
  return {
    ...entry,
    state: 'queued',
    epoch: entry.epoch + 1,
    notBeforeMs: atMs + waitMs,
    queuedAtMs: atMs,
    startedAtMs: null,
    workerId: null,
    incarnation: null,
    checkpointAtMs: null,
  };
}

/** Short attempts report their start with their end. */
const withStart = (entry: ActivityEntry, startedAtMs: number, atMs: number): ActivityEntry =>
  entry.startedAtMs === null
    ? started(entry, { workerId: entry.workerId ?? '', incarnation: entry.incarnation ?? '', startedAtMs }, atMs)
    : entry;

const runMs = (entry: ActivityEntry, atMs: number): number => {
  invariant(entry.startedAtMs !== null, 'a running attempt has a start');
  return Math.max(0, atMs - entry.startedAtMs);
};

/** Books the time of an attempt without result: useful up to its last checkpoint, lost after it; waiting when it never started. */
function closeAttempt(entry: ActivityEntry, atMs: number): ActivityEntry {
  if (entry.startedAtMs === null)
    return { ...entry, waitingMs: entry.waitingMs + Math.max(0, atMs - entry.queuedAtMs) };
  const total = runMs(entry, atMs);
  const useful = entry.checkpointAtMs === null ? 0 : clamp(entry.checkpointAtMs - entry.startedAtMs, 0, total);
  return { ...entry, usefulMs: entry.usefulMs + useful, lostMs: entry.lostMs + (total - useful) };
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
