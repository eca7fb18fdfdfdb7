import type { ActivityFailure, LeaseEnd, RetryPolicy } from './activity-ledger.ts';

interface OfAttempt {
  readonly activityId: string;
  readonly epoch: number;
}

/** What can be in a workflow's log: facts from outside. What follows from them is derived by the fold, at any time again. */
export type Fact =
  | {
      readonly type: 'WorkflowStarted';
      readonly data: {
        readonly jobId: string;
        readonly project: string;
        readonly jobType: string;
        readonly definition: string;
        readonly priority: number;
        readonly submittedAtMs: number;
        readonly retry: RetryPolicy;
        readonly executionTimeoutMs: number;
        readonly input: unknown;
      };
    }
  | {
      readonly type: 'ActivityStarted';
      readonly data: OfAttempt & {
        readonly workerId: string;
        readonly incarnation: string;
        readonly startedAtMs: number;
      };
    }
  | {
      readonly type: 'CheckpointSaved';
      readonly data: OfAttempt & { readonly step: number; readonly manifestKey: string; readonly digest: string };
    }
  | {
      readonly type: 'ActivityCompleted';
      readonly data: OfAttempt & { readonly workerId: string; readonly startedAtMs: number; readonly output: unknown };
    }
  | {
      readonly type: 'ActivityFailed';
      readonly data: OfAttempt & ActivityFailure & { readonly workerId: string; readonly startedAtMs: number };
    }
  | {
      readonly type: 'ActivityYielded';
      readonly data: OfAttempt & { readonly workerId: string; readonly startedAtMs: number; readonly reason: string };
    }
  | {
      readonly type: 'ActivityDeclined';
      readonly data: OfAttempt & { readonly workerId: string; readonly reason: string };
    }
  | { readonly type: 'LeaseEnded'; readonly data: OfAttempt & { readonly reason: LeaseEnd } }
  | {
      readonly type: 'CancelRequested';
      readonly data: { readonly requestedBy: string; readonly reason: string | null };
    }
  | { readonly type: 'ExecutionTimedOut'; readonly data: Record<string, never> }
  | { readonly type: 'TimerFired'; readonly data: { readonly name: string } }
  /** A message of an attempt that is not the current one, or for a workflow that has ended: recorded, changes nothing. */
  | {
      readonly type: 'LateMessageIgnored';
      readonly data: { readonly message: string; readonly activityId: string | null; readonly epoch: number | null };
    };

/** A fact in the log. `seq` counts from 1 without gaps; `messageId` is unique within the workflow. */
export interface LoggedFact {
  readonly seq: number;
  readonly messageId: string;
  readonly atMs: number;
  readonly fact: Fact;
}
