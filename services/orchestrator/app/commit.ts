import type { OutgoingMessage, Position } from '#lib/bus/port.ts';
import type { JobStatus } from '#lib/contracts/jobs.ts';
import type { ApprovalTicket } from '../domain/approval.ts';
import type { Parent } from '../domain/facts.ts';

/** A row of `events`. */
export interface EventRow {
  readonly workflowId: string;
  readonly seq: number;
  readonly type: string;
  readonly dataJson: string;
  readonly messageId: string;
  readonly atMs: number;
  readonly state: string;
}

export type WorkflowStatus = 'open' | 'done' | 'parked';

/** A row of `workflows`. */
export interface WorkflowRow {
  readonly workflowId: string;
  readonly partition: number;
  readonly definition: string;
  readonly jobId: string;
  readonly project: string;
  readonly priority: number;
  readonly submittedAtMs: number;
  readonly status: WorkflowStatus;
  readonly state: string;
  readonly seq: number;
  readonly running: boolean;
  readonly deadlineAtMs: number;
  /** Null = the stored one stays. */
  readonly snapshotJson: string | null;
  readonly snapshotSeq: number;
  readonly parkedReason: string | null;
  /** Nothing of it is placed. */
  readonly paused: boolean;
  readonly parent: Parent | null;
}

/** The row of a job that a workflow started as its child; the rest is its parent's. */
export interface ChildRow {
  readonly jobId: string;
  readonly parentJobId: string;
  readonly jobType: string;
  /** Put behind the parent's idempotency key. */
  readonly keySuffix: string;
  readonly workflowId: string;
  readonly specJson: string;
  readonly atMs: number;
}

/** A row of `approvals`. */
export interface ApprovalRow {
  readonly id: string;
  readonly project: string;
  readonly jobId: string;
  readonly workflowId: string;
  readonly ticket: ApprovalTicket;
}

/** A line for the promotion ledger. */
export interface PromotionRow {
  readonly project: string;
  readonly model: string;
  readonly version: number;
  readonly stage: string;
  readonly jobId: string;
  readonly requestedBy: string;
  readonly reason: string;
  readonly atMs: number;
}

/** A share of a model's traffic for its new version. */
export interface SplitStartRow {
  readonly project: string;
  readonly model: string;
  readonly canary: number;
  readonly baseline: number;
  readonly weightPercent: number;
  readonly jobId: string;
  readonly workflowId: string;
  readonly policyJson: string;
  readonly atMs: number;
}

export interface SplitEndRow {
  readonly project: string;
  readonly model: string;
  readonly jobId: string;
  readonly outcome: string;
  readonly atMs: number;
}

/** A row of `activities`. */
export interface ActivityRow {
  readonly workflowId: string;
  readonly activityId: string;
  readonly name: string;
  readonly lane: string;
  readonly state: string;
  readonly epoch: number;
  readonly failures: number;
  readonly preemptions: number;
  readonly notBeforeMs: number;
  readonly queuedAtMs: number;
  readonly placedAtMs: number | null;
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly startToCloseMs: number;
  readonly workerId: string | null;
  readonly incarnation: string | null;
  readonly lanePartition: number | null;
  readonly errorJson: string | null;
  readonly waitingMs: number;
  readonly usefulMs: number;
  readonly lostMs: number;
}

export interface ProgressRow {
  readonly workflowId: string;
  readonly activityId: string;
  readonly epoch: number;
  readonly progressJson: string;
}

export interface MetricRow {
  readonly jobId: string;
  readonly activityId: string;
  readonly name: string;
  readonly step: number;
  readonly value: number;
  readonly epoch: number;
}

export interface JobRow {
  readonly jobId: string;
  readonly status: JobStatus;
  readonly step: string;
  readonly resultJson: string | null;
  readonly errorJson: string | null;
  readonly atMs: number;
  readonly finished: boolean;
  readonly gpuSeconds: number;
}

export interface TimerRow {
  readonly workflowId: string;
  readonly name: string;
  readonly partition: number;
  readonly fireAtMs: number;
}

export interface WorkerRow {
  readonly workerId: string;
  readonly incarnation: string;
  readonly lane: string;
  readonly slots: number;
  readonly running: number;
  readonly partitions: readonly number[];
  readonly deviceJson: string | null;
  readonly seenAtMs: number;
}

/** A placement that the dispatcher decided for a workflow of another orchestrator's shard. */
export interface RemotePlacement {
  readonly workflowId: string;
  readonly activityId: string;
  readonly epoch: number;
  readonly workerId: string;
  readonly lanePartition: number;
  readonly atMs: number;
}

/** Everything one batch led to: written in one transaction, or not at all. */
export interface Commit {
  /** The shards this batch decided for, with the epochs they were claimed with. */
  readonly fences: readonly { readonly shard: number; readonly epoch: number }[];
  readonly events: readonly EventRow[];
  readonly workflows: readonly WorkflowRow[];
  readonly activities: readonly ActivityRow[];
  readonly progress: readonly ProgressRow[];
  readonly metrics: readonly MetricRow[];
  readonly jobs: readonly JobRow[];
  /** Workflows that are paused, have a parent or run again: what their row says besides. */
  readonly extras: readonly Pick<WorkflowRow, 'workflowId' | 'paused' | 'parent' | 'deadlineAtMs'>[];
  readonly children: readonly ChildRow[];
  /** Jobs whose end is taken back. */
  readonly reopened: readonly string[];
  readonly approvals: readonly ApprovalRow[];
  readonly promotions: readonly PromotionRow[];
  readonly splitsStarted: readonly SplitStartRow[];
  readonly splitsEnded: readonly SplitEndRow[];
  readonly timersSet: readonly TimerRow[];
  readonly timersRemoved: readonly { readonly workflowId: string; readonly name: string }[];
  readonly workers: readonly WorkerRow[];
  readonly remotePlacements: readonly RemotePlacement[];
  /** Wakes the other orchestrators after the commit; the value names the sender. Null = nobody needs to know. */
  readonly notifyPeers: string | null;
  readonly messages: readonly OutgoingMessage[];
  readonly positions: readonly Position[];
}
