import type { OutgoingMessage } from '#lib/bus/port.ts';
import { FINAL_STATUSES, JOB_STATUS } from '#lib/contracts/jobs.ts';
import type { JobRow } from '../../services/gateway/app/ports.ts';
import type {
  ActivityRow,
  Commit,
  EventRow,
  TimerRow,
  WorkerRow,
  WorkflowRow,
} from '../../services/orchestrator/app/commit.ts';
import { FencedError } from '../../services/orchestrator/app/store.ts';
import { BudgetTables } from './budget-tables.ts';
import { ReleaseTables } from './release-tables.ts';
import { DatabaseError } from './database-error.ts';
import type { Life } from './life.ts';

/** A row of `activities`; progress is for people and not kept. */
export type StoredActivity = ActivityRow;

/** Messages that a transaction left to be published (Kafka profile). */
export interface OutboxRow {
  readonly atMs: number;
  readonly messages: readonly OutgoingMessage[];
  /** The transaction that is publishing it. */
  taken: { readonly by: Life; readonly atMs: number } | null;
}

const activityKey = (workflowId: string, activityId: string): string => `${workflowId}\u0000${activityId}`;

/** What the database does for a commit besides its own tables: on the embedded profile, the bus's part of the same transaction. */
export interface TransactionPart {
  /** Throws when the transaction must not happen. Changes nothing. */
  check(): void;
  apply(): void;
}

/**
 * The tables of `lib/postgres/migrations/0003` to `0005`, `0011` and `0012` in memory, with their unique keys, fences and upserts. Every method is one transaction: what
 * can refuse it is checked before anything is changed.
 */
export class SimDatabase {
  readonly events = new Map<string, EventRow[]>();
  readonly workflows = new Map<string, WorkflowRow>();
  readonly activities = new Map<string, StoredActivity>();
  readonly timers = new Map<string, TimerRow>();
  readonly workers = new Map<string, WorkerRow>();
  readonly jobs = new Map<string, JobRow>();
  readonly shards = new Map<number, { owner: string; epoch: number }>();
  readonly budget = new BudgetTables();
  readonly releases = new ReleaseTables();
  outbox: OutboxRow[] = [];
  readonly #claims = new Set<string>();
  #messageIds = new Map<string, Set<string>>();
  /** Called after every transaction of an orchestrator. */
  onCommit: (commit: Commit) => void = () => undefined;

  claim(shards: readonly number[], owner: string): Map<number, number> {
    const epochs = new Map<number, number>();
    for (const shard of [...shards].sort((a, b) => a - b)) {
      const epoch = (this.shards.get(shard)?.epoch ?? 0) + 1;
      this.shards.set(shard, { owner, epoch });
      epochs.set(shard, epoch);
    }
    return epochs;
  }

  /** `orchestrator_fence`: every shard still has the epoch it was claimed with. */
  checkFence(fences: Commit['fences']): void {
    for (const { shard, epoch } of fences)
      if (this.shards.get(shard)?.epoch !== epoch)
        throw new FencedError('a shard belongs to another orchestrator by now');
  }

  commit(commit: Commit, part: TransactionPart): void {
    this.checkFence(commit.fences);
    this.checkUnique(commit.events);
    part.check();
    for (const event of commit.events) this.#append(event);
    for (const row of commit.workflows) this.#saveWorkflow(row);
    for (const row of commit.extras) this.saveExtras(row);
    for (const row of commit.children) this.insertChild(row);
    for (const jobId of commit.reopened) this.reopen(jobId);
    this.releases.commit(commit);
    for (const row of commit.activities)
      this.activities.set(activityKey(row.workflowId, row.activityId), this.#upserted(row));
    for (const row of commit.jobs) this.#saveJob(row);
    for (const { workflowId, name } of commit.timersRemoved) this.timers.delete(activityKey(workflowId, name));
    for (const row of commit.timersSet) this.timers.set(activityKey(row.workflowId, row.name), row);
    for (const row of commit.workers) this.workers.set(row.workerId, row);
    for (const placement of commit.remotePlacements) this.#place(placement);
    this.onCommit(commit);
    part.apply();
  }

  /** Null when there is nothing to publish. */
  appendOutbox(messages: readonly OutgoingMessage[], atMs: number): OutboxRow | null {
    if (messages.length === 0) return null;
    const row = { atMs, messages, taken: null };
    this.outbox.push(row);
    return row;
  }

  /** What lies in outboxes for the keys of these messages, in the order of the commits. */
  waitingIn(messages: readonly OutgoingMessage[]): OutgoingMessage[] {
    const same = ({ topic, key }: OutgoingMessage): boolean => messages.some((m) => m.topic === topic && m.key === key);
    return this.outbox.flatMap((row) => row.messages.filter(same));
  }

  deleteOutbox(rows: readonly OutboxRow[]): void {
    this.outbox = this.outbox.filter((row) => !rows.includes(row));
  }

  /** `insert into attempt_claims ... on conflict do nothing`: true for the one who comes first. */
  claimAttempt({ workflowId, activityId, epoch }: { workflowId: string; activityId: string; epoch: number }): boolean {
    const key = `${workflowId}\u0000${activityId}\u0000${epoch}`;
    if (this.#claims.has(key)) return false;
    this.#claims.add(key);
    return true;
  }

  /** `orchestrator_place`: only an attempt that still waits under this epoch. */
  mayPlace(row: StoredActivity, epoch: number): boolean {
    return row.epoch === epoch && row.state === 'queued';
  }

  messageIds(workflowId: string): readonly string[] {
    return [...(this.#messageIds.get(workflowId) ?? [])];
  }

  eventsOf(workflowId: string): readonly EventRow[] {
    return this.events.get(workflowId) ?? [];
  }

  activitiesOf(workflowId: string): StoredActivity[] {
    return [...this.activities.values()].filter((row) => row.workflowId === workflowId);
  }

  activity(workflowId: string, activityId: string): StoredActivity | undefined {
    return this.activities.get(activityKey(workflowId, activityId));
  }

  /** The unique keys of `jobs`. */
  isTaken(other: JobRow, job: JobRow): boolean {
    const sameKey = other.project === job.project && other.idempotencyKey === job.idempotencyKey;
    return sameKey || other.id === job.id || other.workflowId === job.workflowId;
  }

  /** `orchestrator_save_workflow_extras`. */
  saveExtras({ workflowId, paused, parent, deadlineAtMs }: Commit['extras'][number]): void {
    const row = this.workflows.get(workflowId);
    if (row !== undefined) this.workflows.set(workflowId, { ...row, paused, parent, deadlineAtMs });
  }

  /** `orchestrator_save_children`: project, priority, labels and submitter are the parent's; nothing for a parent that is not there. */
  insertChild(child: Commit['children'][number]): void {
    const parent = this.jobs.get(child.parentJobId);
    if (parent === undefined) return;
    const job: JobRow = {
      ...parent,
      id: child.jobId,
      type: child.jobType as JobRow['type'],
      idempotencyKey: `${parent.idempotencyKey}${child.keySuffix}`,
      requestDigest: '',
      workflowId: child.workflowId,
      spec: JSON.parse(child.specJson),
      description: '',
      status: JOB_STATUS.submitted,
      step: null,
      result: null,
      error: null,
      gpuSecondsEstimate: 0,
      submittedAt: new Date(child.atMs),
      startedAt: null,
      finishedAt: null,
      parentJobId: parent.id,
      deleted: false,
    };
    if ([...this.jobs.values()].some((other) => this.isTaken(other, job))) return;
    this.jobs.set(job.id, job);
  }

  /** `orchestrator_reopen_jobs`: the end of a job that is retried is taken back. */
  reopen(jobId: string): void {
    const job = this.jobs.get(jobId);
    if (job !== undefined) this.jobs.set(jobId, { ...job, finishedAt: null, result: null, error: null });
  }

  /** `insert ... on conflict do nothing`, then the reservation; the caller publishes in `also`. */
  insertJob(job: JobRow, also: () => void): 'created' | 'exists' | 'overBudget' {
    if ([...this.jobs.values()].some((other) => this.isTaken(other, job))) return 'exists';
    if (!this.budget.reserve(job.project, job.id, job.gpuSecondsEstimate)) return 'overBudget';
    this.jobs.set(job.id, job);
    also();
    return 'created';
  }

  /** `unique (workflow_id, seq)`, `unique (workflow_id, message_id)`. */
  checkUnique(events: readonly EventRow[]): void {
    const added = new Set<string>();
    for (const { workflowId, seq, messageId } of events) {
      const log = this.eventsOf(workflowId);
      const keys = [`${workflowId} seq ${seq}`, `${workflowId} message ${messageId}`];
      const stored =
        log.some((event) => event.seq === seq) || this.#messageIds.get(workflowId)?.has(messageId) === true;
      if (stored || keys.some((key) => added.has(key)))
        throw new DatabaseError('23505', `duplicate key in events: ${keys.join(', ')}`);
      for (const key of keys) added.add(key);
    }
  }

  #append(event: EventRow): void {
    const log = this.events.get(event.workflowId);
    if (log === undefined) this.events.set(event.workflowId, [event]);
    else log.push(event);
    const ids = this.#messageIds.get(event.workflowId) ?? new Set();
    this.#messageIds.set(event.workflowId, ids.add(event.messageId));
  }

  /** Only these columns change; a snapshot stays when none comes, and its seq never falls. */
  #saveWorkflow(row: WorkflowRow): void {
    const before = this.workflows.get(row.workflowId);
    // What the row says besides comes with `extras`.
    if (before === undefined) return void this.workflows.set(row.workflowId, { ...row, paused: false, parent: null });
    const { status, state, seq, running, parkedReason } = row;
    this.workflows.set(row.workflowId, {
      ...before,
      status,
      state,
      seq,
      running,
      parkedReason,
      snapshotJson: row.snapshotJson ?? before.snapshotJson,
      snapshotSeq: Math.max(row.snapshotSeq, before.snapshotSeq),
    });
  }

  /** The row as the upsert leaves it: these columns never change. */
  #upserted(row: ActivityRow): ActivityRow {
    const before = this.activity(row.workflowId, row.activityId) ?? row;
    return { ...row, name: before.name, lane: before.lane, startToCloseMs: before.startToCloseMs };
  }

  #saveJob(row: Commit['jobs'][number]): void {
    const job = this.jobs.get(row.jobId);
    if (job === undefined) return;
    const at = new Date(row.atMs);
    this.jobs.set(row.jobId, {
      ...job,
      status: row.status,
      step: row.step,
      result: row.resultJson === null ? job.result : JSON.parse(row.resultJson),
      error: row.errorJson === null ? job.error : JSON.parse(row.errorJson),
      startedAt: row.status === JOB_STATUS.running ? (job.startedAt ?? at) : job.startedAt,
      finishedAt: row.finished ? at : job.finishedAt,
    });
    if (row.finished) this.budget.settle(job.project, job.id, job.gpuSecondsEstimate, row.gpuSeconds);
  }

  #place(placement: Commit['remotePlacements'][number]): void {
    const { workflowId, activityId, epoch, workerId, lanePartition, atMs } = placement;
    const row = this.activity(workflowId, activityId);
    if (row === undefined || !this.mayPlace(row, epoch)) return;
    const placed = { ...row, state: 'placed', workerId, lanePartition, placedAtMs: atMs };
    this.activities.set(activityKey(workflowId, activityId), placed);
  }
}

export const isFinalJob = (job: JobRow): boolean => FINAL_STATUSES.includes(job.status);
