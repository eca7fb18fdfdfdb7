import type { LeaseEnd } from './activity-ledger.ts';

/** A worker's time-limited right to run one attempt, as the shard that owns the workflow sees it. */
export interface Lease {
  readonly workflowId: string;
  readonly activityId: string;
  readonly epoch: number;
  readonly workerId: string;
  /** Empty until the worker reported. */
  readonly incarnation: string;
  readonly placedAtMs: number;
  /** Null until the worker reported that it runs the attempt. */
  readonly startedAtMs: number | null;
  readonly startToCloseMs: number;
  readonly lastHeartbeatMs: number;
  readonly lastStep: number;
  readonly lastProgressMs: number;
  /** Longest time between two reports with progress that this attempt has shown, ms; 0 = nothing learnt yet. */
  readonly progressIntervalMs: number;
}

export interface LeasePolicy {
  /** No heartbeat for this long: the worker is dead. The seed: 5 min. */
  readonly heartbeatTimeoutMs: number;
  /** A placed attempt that nobody reported for this long is taken back. */
  readonly acceptTimeoutMs: number;
  /** Heartbeats without progress for `stallFactor` times the learnt interval = stalled. */
  readonly stallFactor: number;
  /** ... but never sooner than this: start-up, evaluation and saving take time without a step. */
  readonly stallFloorMs: number;
}

export function granted(
  attempt: Pick<Lease, 'workflowId' | 'activityId' | 'epoch' | 'workerId' | 'startToCloseMs'>,
  atMs: number,
): Lease {
  return {
    ...attempt,
    incarnation: '',
    placedAtMs: atMs,
    startedAtMs: null,
    lastHeartbeatMs: atMs,
    lastStep: 0,
    lastProgressMs: atMs,
    progressIntervalMs: 0,
  };
}

/** The worker reported that it runs the attempt; also how leases come back after a restart of the orchestrator (adoption). */
export const confirmed = (
  lease: Lease,
  start: { workerId: string; incarnation: string; startedAtMs: number },
  atMs: number,
): Lease => ({ ...lease, ...start, lastHeartbeatMs: atMs, lastProgressMs: atMs });

/** A heartbeat arrived: it keeps the lease, and teaches how long a step takes when `step` grew. */
export function heartbeat(lease: Lease, step: number, atMs: number): Lease {
  if (step <= lease.lastStep) return { ...lease, lastHeartbeatMs: atMs };
  const interval = atMs - lease.lastProgressMs;
  return {
    ...lease,
    lastHeartbeatMs: atMs,
    lastStep: step,
    lastProgressMs: atMs,
    progressIntervalMs: Math.max(lease.progressIntervalMs, interval),
  };
}

/** Why the lease is over at `nowMs`, or null while it holds. */
export function judge(lease: Lease, policy: LeasePolicy, nowMs: number): LeaseEnd | null {
  if (lease.startedAtMs === null) return nowMs - lease.placedAtMs >= policy.acceptTimeoutMs ? 'not_started' : null;
  if (nowMs - lease.startedAtMs >= lease.startToCloseMs) return 'timed_out';
  if (nowMs - lease.lastHeartbeatMs >= policy.heartbeatTimeoutMs) return 'lost';
  if (nowMs - lease.lastProgressMs >= stallTimeoutMs(lease, policy)) return 'stalled';
  return null;
}

/** Heartbeats without progress end the lease after this long: k times what was learnt, never below the floor. */
export const stallTimeoutMs = (lease: Lease, policy: LeasePolicy): number =>
  Math.max(policy.stallFloorMs, policy.stallFactor * lease.progressIntervalMs);
