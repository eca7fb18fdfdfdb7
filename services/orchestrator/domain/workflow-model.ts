import type { JobStatus, JobType } from '#lib/contracts/jobs.ts';
import type { ActivityEntry } from './activity-ledger.ts';
import type { ApprovalTicket } from './approval.ts';
import type { Fact } from './facts.ts';
import type { MachineState } from './machine.ts';
import type { SignalData, SignalName } from './signals.ts';
import type { PromoteParams, StartCanaryParams, WorkflowEvent } from './workflows/workflow-types.ts';

export type Start = Extract<Fact, { type: 'WorkflowStarted' }>['data'];

/** One workflow: the fold of its facts. Plain JSON, so that it can be stored as a snapshot. */
export interface WorkflowState {
  readonly workflowId: string;
  readonly start: Omit<Start, 'input'>;
  readonly startedAtMs: number;
  readonly machine: MachineState;
  readonly activities: Readonly<Record<string, ActivityEntry>>;
  /** Pending timers by name: when they fire, epoch ms. */
  readonly timers: Readonly<Record<string, number>>;
  /** Present while nothing of it may be placed. */
  readonly paused?: {
    readonly reason: string | null;
    readonly by: string;
    /** What the machine would have been told meanwhile, in order: it is told when the workflow is resumed. */
    readonly held?: readonly WorkflowEvent[];
  };
  /** Children by what this workflow calls them. */
  readonly children?: Readonly<Record<string, ChildEntry>>;
  /** Tickets by approval. */
  readonly approvals?: Readonly<Record<string, ApprovalTicket>>;
  /** Null while it runs. */
  readonly finish: { readonly status: JobStatus; readonly result: unknown; readonly error: unknown } | null;
}

interface ChildEntry {
  readonly workflowId: string;
  readonly jobId: string;
  readonly ended: boolean;
}

/** What follows from a fact, to be carried out once, in the transaction that appends it. On replay nobody looks. */
export type Effect =
  | { readonly type: 'activityChanged'; readonly entry: ActivityEntry }
  | {
      readonly type: 'stopAttempt';
      readonly activityId: string;
      readonly epoch: number;
      readonly reason: 'Cancelled' | 'Revoked' | 'Paused';
    }
  | { readonly type: 'setTimer'; readonly name: string; readonly fireAtMs: number }
  | { readonly type: 'cancelTimer'; readonly name: string }
  | {
      readonly type: 'startChild';
      readonly childId: string;
      readonly workflowId: string;
      readonly jobId: string;
      readonly jobType: JobType;
      readonly input: unknown;
      readonly spec: unknown;
      readonly reports: string | null;
    }
  | { readonly type: 'cancelChild'; readonly workflowId: string; readonly reason: string }
  /** To a child, or to the parent (`child.*`). */
  | SignalEffect
  | { readonly type: 'approvalChanged'; readonly ticket: ApprovalTicket; readonly reminder: boolean }
  | { readonly type: 'promote'; readonly promotion: PromoteParams }
  | { readonly type: 'startCanary'; readonly canary: StartCanaryParams }
  | { readonly type: 'endCanary'; readonly model: string; readonly outcome: string }
  /** A workflow that had ended runs again. */
  | { readonly type: 'reopened'; readonly atMs: number }
  | { readonly type: 'finished'; readonly status: JobStatus; readonly result: unknown; readonly error: unknown };

type SignalEffect = {
  [S in SignalName]: {
    readonly type: 'signal';
    readonly workflowId: string;
    readonly signal: S;
    readonly data: SignalData<S>;
  };
}[SignalName];

export interface Evolved {
  readonly state: WorkflowState;
  readonly effects: readonly Effect[];
}
