import type { TSchema } from '#typebox';
import type { StopReason } from '#lib/contracts/generated/messages.ts';

/** The newest checkpoint that the log knows for this activity. */
export interface ResumePoint {
  readonly step: number;
  readonly manifestKey: string;
  readonly digest: string;
  readonly epoch: number;
}

export interface MetricPoint {
  readonly name: string;
  readonly step: number;
  readonly value: number;
}

export interface Progress {
  /** Steps done; heartbeats whose step does not grow count as no progress. */
  readonly step: number;
  /** 0 = unknown. */
  readonly stepsTotal: number;
  readonly throughput?: number;
  /** Device counters, anything that is JSON. */
  readonly device?: unknown;
}

/** Why an attempt is asked to end. `WorkerStopping` is the worker's own reason, the others come from the orchestrator. */
export type EndReason = StopReason | 'WorkerStopping';

/** What one attempt knows and can say. */
export interface ActivityContext<Input = unknown> {
  readonly workflowId: string;
  readonly activityId: string;
  /** The fencing token: part of the name of everything the attempt stores. */
  readonly epoch: number;
  readonly jobId: string;
  readonly project: string;
  readonly input: Input;
  readonly resume: ResumePoint | null;
  /** Aborted when the attempt must end; `reason` is an `EndReason`. Attempts that can yield save a checkpoint first. */
  readonly signal: AbortSignal;
  /** The next heartbeat carries the newest progress. */
  readonly progress: (progress: Progress) => void;
  /** The next heartbeat carries these points; at most `MAX_PENDING_METRICS` wait. */
  readonly metrics: (points: readonly MetricPoint[]) => void;
  /** Reports a checkpoint whose manifest is written. */
  readonly checkpointSaved: (checkpoint: { step: number; manifestKey: string; digest: string }) => void;
}

/** An activity that a worker can run. `run` resolves with the output (JSON, at most 256 KiB) or throws. */
export interface Activity {
  /** Checked before `run`; a wrong input fails the activity for good. */
  readonly input?: TSchema;
  /** Checked after `run`; a wrong output is a bug of the activity and fails the attempt. */
  readonly output?: TSchema;
  run(context: ActivityContext): Promise<unknown>;
}

/** Thrown by an attempt that stopped with its state stored, on request or to wait elsewhere: it is requeued and burns no retry. */
export class YieldedError extends Error {
  readonly step: number | null;
  /** Why it stopped by itself; null when it was asked to. */
  readonly reason: string | null;
  constructor(step: number | null, reason: string | null = null) {
    super('the attempt yielded');
    this.name = 'YieldedError';
    this.step = step;
    this.reason = reason;
  }
}

/** A classified failure whose code may come from outside the catalogue (a training program's own). */
export class ActivityError extends Error {
  readonly code: string;
  readonly retryable: boolean;
  /** Last lines of the program's log, oldest first. */
  readonly logTail: readonly string[];
  constructor(
    code: string,
    message: string,
    options: { retryable: boolean; logTail?: readonly string[]; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ActivityError';
    this.code = code;
    this.retryable = options.retryable;
    this.logTail = options.logTail ?? [];
  }
}

/** True when the attempt was told to end at once: whatever it reports now is ignored anyway. */
export const mustAbandon = (signal: AbortSignal): boolean =>
  signal.aborted && (signal.reason === 'Cancelled' || signal.reason === 'Revoked');
