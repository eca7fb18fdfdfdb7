import type { LoggedFact } from '../domain/facts.ts';
import type { WorkflowState } from '../domain/workflow-state.ts';
import type { ActivityRow, Commit, WorkflowRow } from './commit.ts';

/** A workflow as it is stored: its projection row, and how to fold it. */
export interface StoredWorkflow {
  readonly row: WorkflowRow;
  readonly snapshot: WorkflowState | null;
  /** Facts after `row.snapshotSeq`, in seq order. */
  readonly facts: readonly LoggedFact[];
  /** Ids of all messages in the log, those before the snapshot included. */
  readonly messageIds: readonly string[];
}

/** What a shard must know at once when it is taken over; the logs are read when they are needed. */
export interface OpenWork {
  readonly workflows: readonly WorkflowRow[];
  /** Activities in state queued, placed or running. */
  readonly activities: readonly ActivityRow[];
}

export interface DueTimer {
  readonly workflowId: string;
  readonly name: string;
}

export interface KnownWorker {
  readonly workerId: string;
  readonly incarnation: string;
  readonly lane: string;
  readonly slots: number;
  readonly partitions: readonly number[];
  readonly lastSeenMs: number;
}

/** A shard or a bus partition belongs to another orchestrator by now: forget what was loaded for it. */
export class FencedError extends Error {}

/** The orchestrator's tables. One implementation: PostgreSQL. */
export interface OrchestratorStore {
  /** Raises the epochs of the shards for this owner and returns them. */
  claim(shards: readonly number[]): Promise<ReadonlyMap<number, number>>;
  /** Writes all of it in one transaction. Throws `FencedError` when a fence is stale; anything else: nothing was written. */
  commit(commit: Commit): Promise<void>;
  /** By workflow id; unknown ids are left out. */
  load(workflowIds: readonly string[]): Promise<ReadonlyMap<string, StoredWorkflow>>;
  /** Workflows of the partitions that are `open` or `parked`, and the activities of the open ones. */
  openWork(partitions: readonly number[]): Promise<OpenWork>;
  /** Timers of the partitions with `fireAtMs <= nowMs`, earliest first, at most `limit`. */
  dueTimers(partitions: readonly number[], nowMs: number, limit: number): Promise<readonly DueTimer[]>;
  /** Earliest timer of the partitions with `fireAtMs > afterMs`, or null. */
  nextTimerMs(partitions: readonly number[], afterMs: number): Promise<number | null>;
  /** Running workflows at most, by project. */
  projectCaps(): Promise<ReadonlyMap<string, number>>;
  workers(seenSinceMs: number): Promise<readonly KnownWorker[]>;
  /** Removes workers that announced nothing since. */
  forgetWorkers(seenBeforeMs: number): Promise<void>;
  /** Of these queued attempts, those that a dispatcher elsewhere has placed. */
  placements(
    attempts: readonly { workflowId: string; activityId: string; epoch: number }[],
  ): Promise<readonly { workflowId: string; activityId: string; workerId: string; lanePartition: number }[]>;
  saveWaitReasons(rows: readonly { workflowId: string; activityId: string; reason: string }[]): Promise<void>;
}
