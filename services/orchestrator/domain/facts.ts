import type { ActivityFailure, LeaseEnd, RetryPolicy } from './activity-ledger.ts';
import type { Ballot } from './approval.ts';
import type { WorkflowSignal } from './signals.ts';

interface OfAttempt {
  readonly activityId: string;
  readonly epoch: number;
}

/** The workflow that started this one as its child. */
export interface Parent {
  readonly workflowId: string;
  /** What the parent calls this child; unique there. */
  readonly childId: string;
  /** Name of the metric whose points the parent wants while they come; null = none. */
  readonly reports: string | null;
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
        /** Present for a child: who started it, and the curve it reports there. */
        readonly parent?: Parent;
        /** Key id of whoever asked for the job; absent in logs of former releases. */
        readonly submittedBy?: string;
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
  /** Checkpoint, stop, and place nothing until it is resumed. `reason`: `Pruned`, `ParentPaused`, or what a person said. */
  | { readonly type: 'PauseRequested'; readonly data: { readonly requestedBy: string; readonly reason: string | null } }
  | { readonly type: 'ResumeRequested'; readonly data: { readonly requestedBy: string } }
  /** A FAILED workflow goes back to the step that failed, with its checkpoint and a full set of attempts. */
  | { readonly type: 'RetryRequested'; readonly data: { readonly requestedBy: string } }
  | { readonly type: 'ApprovalVoted'; readonly data: { readonly approval: string } & Omit<Ballot, 'digest'> }
  | {
      readonly type: 'ApprovalVoided';
      readonly data: { readonly approval: string; readonly reason: string; readonly requestedBy: string };
    }
  /** Something that the machine waits for: a child's report or end, the verdict of a canary. */
  | { readonly type: 'SignalReceived'; readonly data: WorkflowSignal }
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
