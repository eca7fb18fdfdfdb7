import type { OutgoingMessage } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import type { DatasetFormat, JobStatus, JobType } from '#lib/contracts/jobs.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import type { PromotionLedger } from '#lib/promotion/port.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import type { Principal, Role } from '../domain/access.ts';
import type { Budget } from '../domain/budget.ts';
import type { SlotSpeed } from '../domain/estimate.ts';

/** A row of `jobs`. */
export interface JobRow {
  readonly id: string;
  readonly project: string;
  readonly type: JobType;
  readonly idempotencyKey: string;
  readonly requestDigest: string;
  readonly workflowId: string;
  readonly priority: number;
  readonly spec: unknown;
  readonly labels: Readonly<Record<string, string>>;
  readonly description: string;
  readonly status: JobStatus;
  readonly step: string | null;
  readonly result: unknown;
  readonly error: unknown;
  readonly gpuSecondsEstimate: number;
  readonly submittedAt: Date;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  /** The job that started this one; null: somebody asked for it. */
  readonly parentJobId: string | null;
  /** Key id of whoever asked; null for jobs of former releases. */
  readonly submittedBy: string | null;
  /** Deleted jobs are hidden but keep their idempotency key: their workflow id must never start again. */
  readonly deleted: boolean;
}

export interface DatasetVersion {
  readonly project: string;
  readonly name: string;
  readonly version: number;
  readonly format: DatasetFormat;
  readonly objectKey: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly createdAt: Date;
}

export interface Project extends Budget {
  readonly id: string;
  readonly displayName: string;
  readonly tier: string;
  readonly maxRunningWorkflows: number;
  readonly createdAt: Date;
}

/** What has to be known to decide about a submission. */
export interface SnapshotQuery {
  readonly project: string;
  /** Null for a dry run without a key. */
  readonly idempotencyKey: string | null;
  /** At least one; `version` null = the newest. */
  readonly datasets: readonly { readonly name: string; readonly version: number | null }[];
  /** Name of the model whose last retrain is asked for; null = none. */
  readonly retrainOf: string | null;
}

/** What a submission is decided on, read in one statement. */
export interface SubmissionSnapshot {
  readonly budget: Budget;
  /** The job that has the idempotency key already. */
  readonly existing: { readonly id: string; readonly requestDigest: string; readonly deleted: boolean } | null;
  /** In the order of the question; `known`: whether the dataset has any version. */
  readonly datasets: readonly { readonly version: DatasetVersion | null; readonly known: boolean }[];
  /** When the last retrain of `retrainOf` was taken in that runs or came to a verdict, epoch ms: none skipped, failed, cancelled or timed out. */
  readonly lastRetrainAtMs: number | null;
}

export type Inserted =
  | { readonly kind: 'created' }
  /** Somebody else was faster with the same key; `job` is null when the workflow id belongs to another project's job. */
  | { readonly kind: 'exists'; readonly job: JobRow | null }
  | { readonly kind: 'overBudget'; readonly budget: Budget };

export interface JobFailure {
  /** A step of its own failed, and nothing else did: there is one place to go on from. */
  readonly singleStep: boolean;
  /** A child that failed, the oldest; null: none. */
  readonly childId: string | null;
}

export interface JobStore {
  /** Null when there is no such project. */
  snapshot(query: SnapshotQuery): Promise<SubmissionSnapshot | null>;
  /** The same for many, in their order. */
  snapshots(queries: readonly SnapshotQuery[]): Promise<readonly (SubmissionSnapshot | null)[]>;
  /** Job, reservation, ledger row and messages, in one transaction: all or nothing. */
  insert(job: JobRow, messages: readonly OutgoingMessage[]): Promise<Inserted>;
  /**
   * The same for many in one transaction; returns the ids of those that were stored. Left out: what somebody else was faster with, and all of a project
   * whose budget is not enough for all of them.
   */
  insertAll(
    jobs: readonly { readonly job: JobRow; readonly messages: readonly OutgoingMessage[] }[],
  ): Promise<ReadonlySet<string>>;
  /** Durable when it resolves; for answers that belong to no job. */
  publish(messages: readonly OutgoingMessage[]): Promise<void>;
  /** `project` null = in any. Deleted jobs are not found. */
  find(id: string, project: string | null): Promise<JobRow | null>;
  /** Publishes if the job has one of these statuses at that moment; the answer is the job as it was then. */
  publishWhile(
    id: string,
    statuses: readonly JobStatus[],
    messages: readonly OutgoingMessage[],
  ): Promise<{ job: JobRow; published: boolean } | null>;
  /** What of a failed job can be done again, as the rows of its activities and children tell. */
  failureOf(job: Pick<JobRow, 'id' | 'workflowId'>): Promise<JobFailure>;
  change(
    id: string,
    change: { labels?: Readonly<Record<string, string>>; description?: string },
  ): Promise<JobRow | null>;
  /** Hides a final job and its children; false when there is none (any more) or a child goes on. */
  hide(id: string): Promise<boolean>;
}

export interface DatasetStore {
  projectExists(project: string): Promise<boolean>;
  /** A new version with the next number, or the one that has the same bytes and format already. */
  addVersion(
    version: Omit<DatasetVersion, 'version' | 'createdAt'>,
  ): Promise<{ row: DatasetVersion; created: boolean }>;
}

export interface KeyRecord {
  readonly id: string;
  readonly project: string | null;
  readonly role: Role;
  readonly name: string;
  readonly createdAt: Date;
  readonly revokedAt: Date | null;
}

/** A key as an approver or as the one behind a release. */
export interface KnownKey {
  readonly id: string;
  readonly role: Role;
  readonly revoked: boolean;
}

export interface KeyStore {
  /** Those of the ids that are keys of the project or the platform. */
  known(project: string, ids: readonly string[]): Promise<readonly KnownKey[]>;
  /** By SHA-256; revoked keys are not found. */
  findByHash(hash: Buffer): Promise<Principal | null>;
  insert(key: { id: string; project: string | null; role: Role; name: string; hash: Buffer }): Promise<KeyRecord>;
  /** Calls `make` and stores its key unless a platform admin key exists; processes that start together take turns. True when stored. */
  ensureAdmin(make: () => Promise<{ id: string; hash: Buffer }>): Promise<boolean>;
}

/** What the use cases need from outside. */
export interface Gateway {
  readonly jobs: JobStore;
  readonly datasets: DatasetStore;
  readonly registry: ModelRegistry;
  readonly promotions: Pick<PromotionLedger, 'stages'>;
  readonly keys: Pick<KeyStore, 'known'>;
  readonly objects: ObjectStore;
  readonly codec: Codec;
  readonly codeCommit: string;
  readonly slotSpeed: SlotSpeed;
  /** Epoch milliseconds. */
  readonly now: () => number;
}
