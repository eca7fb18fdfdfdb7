import { PartitionLostError, type SubscribeOptions, type Subscription, type TransactionalBus } from '#lib/bus/port.ts';
import { type Database, FENCED, sqlState } from '#lib/postgres/database.ts';
import { int4Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { ActivityRow, Commit, WorkflowRow } from '../app/commit.ts';
import {
  type DueTimer,
  FencedError,
  type KnownWorker,
  type OpenWork,
  type OrchestratorStore,
  type StoredWorkflow,
} from '../app/store.ts';
import type { Fact, LoggedFact } from '../domain/facts.ts';
import type { WorkflowState } from '../domain/workflow-state.ts';
import { invariant } from '#lib/kernel/errors.ts';
import { commitStatement } from './commit-statement.ts';

/** The tables of `0004_orchestrator.sql`; messages and positions are part of the same transaction, as far as the bus can (`partsOf`). */
export class PostgresOrchestratorStore implements OrchestratorStore {
  readonly #database: Database;
  readonly #bus: Pick<TransactionalBus, 'partsOf' | 'subscribe'>;
  readonly #owner: string;
  #subscription: Subscription | null = null;

  constructor(options: {
    database: Database;
    bus: Pick<TransactionalBus, 'partsOf' | 'subscribe'>;
    owner: string;
  }) {
    this.#database = options.database;
    this.#bus = options.bus;
    this.#owner = options.owner;
  }

  /** What the engine consumes: its positions are committed with its batches. */
  async subscribe(options: SubscribeOptions): Promise<Subscription> {
    return (this.#subscription = await this.#bus.subscribe(options));
  }

  async claim(shards: readonly number[]): Promise<ReadonlyMap<number, number>> {
    const { rows } = await this.#database.query<{ shard: number; epoch: number }>(
      'select shard, epoch from orchestrator_claim($1, $2)',
      [int4Array(shards), this.#owner],
    );
    return new Map(rows.map((row) => [row.shard, row.epoch]));
  }

  async commit(commit: Commit): Promise<void> {
    const { positions, messages } = commit;
    invariant(this.#subscription !== null, 'a commit follows a subscription');
    const parts = await this.#bus.partsOf({ subscription: this.#subscription, positions, messages });
    const { name, text, values } = commitStatement(commit, parts.calls);
    try {
      await this.#database.query({ name, text }, values);
      parts.settle(true);
    } catch (error) {
      parts.settle(false);
      if (sqlState(error) === FENCED || error instanceof PartitionLostError)
        throw new FencedError('another orchestrator owns a shard of this batch', { cause: error });
      throw error;
    }
  }

  async load(workflowIds: readonly string[]): Promise<ReadonlyMap<string, StoredWorkflow>> {
    if (workflowIds.length === 0) return new Map();
    const workflows = await this.#database.query<WorkflowColumns>(LOAD_WORKFLOWS, [textArray(workflowIds)]);
    // Most unknown ids are new workflows: nothing to read for them.
    if (workflows.rows.length === 0) return new Map();
    const found = textArray(workflows.rows.map((row) => row.workflow_id));
    const events = await this.#database.query<EventColumns>(LOAD_EVENTS, [found]);
    const stored = new Map<
      string,
      { row: WorkflowRow; snapshot: WorkflowState | null; facts: LoggedFact[]; messageIds: string[] }
    >();
    for (const row of workflows.rows)
      stored.set(row.workflow_id, { row: workflowRow(row), snapshot: row.snapshot, facts: [], messageIds: [] });
    for (const event of events.rows) {
      const workflow = stored.get(event.workflow_id);
      if (workflow === undefined) continue;
      workflow.messageIds.push(event.message_id);
      if (event.seq <= workflow.row.snapshotSeq) continue;
      const fact = { type: event.type, data: event.data } as Fact;
      workflow.facts.push({ seq: event.seq, messageId: event.message_id, atMs: event.at_ms, fact });
    }
    return stored;
  }

  async openWork(partitions: readonly number[]): Promise<OpenWork> {
    const [workflows, activities] = await Promise.all([
      this.#database.query<WorkflowColumns>(OPEN_WORKFLOWS, [int4Array(partitions)]),
      this.#database.query<ActivityColumns>(OPEN_ACTIVITIES, [int4Array(partitions)]),
    ]);
    return { workflows: workflows.rows.map(workflowRow), activities: activities.rows.map(activityRow) };
  }

  async dueTimers(partitions: readonly number[], nowMs: number, limit: number): Promise<readonly DueTimer[]> {
    const { rows } = await this.#database.query<{ workflow_id: string; name: string }>(
      {
        name: 'due-timers',
        text: 'select workflow_id, name from timers where fire_at_ms <= $1 and partition = any ($2) order by fire_at_ms limit $3',
      },
      [nowMs, int4Array(partitions), limit],
    );
    return rows.map((row) => ({ workflowId: row.workflow_id, name: row.name }));
  }

  async nextTimerMs(partitions: readonly number[], afterMs: number): Promise<number | null> {
    const { rows } = await this.#database.query<{ fire_at_ms: number }>(
      {
        name: 'next-timer',
        text: 'select fire_at_ms from timers where fire_at_ms > $2 and partition = any ($1) order by fire_at_ms limit 1',
      },
      [int4Array(partitions), afterMs],
    );
    return rows[0]?.fire_at_ms ?? null;
  }

  async projectCaps(): Promise<ReadonlyMap<string, number>> {
    const { rows } = await this.#database.query<{ id: string; cap: number }>(
      'select id, max_running_workflows as cap from projects',
    );
    return new Map(rows.map((row) => [row.id, row.cap]));
  }

  async workers(seenSinceMs: number): Promise<readonly KnownWorker[]> {
    const { rows } = await this.#database.query<{
      worker_id: string;
      incarnation: string;
      lane: string;
      slots: number;
      partitions: number[];
      last_seen_ms: number;
    }>('select worker_id, incarnation, lane, slots, partitions, last_seen_ms from workers where last_seen_ms >= $1', [
      seenSinceMs,
    ]);
    return rows.map((row) => ({
      workerId: row.worker_id,
      incarnation: row.incarnation,
      lane: row.lane,
      slots: row.slots,
      partitions: row.partitions,
      lastSeenMs: row.last_seen_ms,
    }));
  }

  async forgetWorkers(seenBeforeMs: number): Promise<void> {
    await this.#database.query('delete from workers where last_seen_ms < $1', [seenBeforeMs]);
  }

  async placements(
    attempts: readonly { workflowId: string; activityId: string; epoch: number }[],
  ): Promise<readonly { workflowId: string; activityId: string; workerId: string; lanePartition: number }[]> {
    const { rows } = await this.#database.query<{
      workflow_id: string;
      activity_id: string;
      worker_id: string;
      lane_partition: number;
    }>(PLACEMENTS, [
      textArray(attempts.map((a) => a.workflowId)),
      textArray(attempts.map((a) => a.activityId)),
      int4Array(attempts.map((a) => a.epoch)),
    ]);
    return rows.map((row) => ({
      workflowId: row.workflow_id,
      activityId: row.activity_id,
      workerId: row.worker_id,
      lanePartition: row.lane_partition,
    }));
  }

  async saveWaitReasons(rows: readonly { workflowId: string; activityId: string; reason: string }[]): Promise<void> {
    await this.#database.query('select orchestrator_save_wait_reasons($1, $2, $3)', [
      textArray(rows.map((row) => row.workflowId)),
      textArray(rows.map((row) => row.activityId)),
      textArray(rows.map((row) => row.reason)),
    ]);
  }
}

const WORKFLOW_COLUMNS = `w.workflow_id, w.partition, w.definition, w.job_id, w.project, w.priority, w.submitted_at_ms, w.status, w.state,
  w.seq, w.running, w.deadline_at_ms, w.snapshot_seq, w.parked_reason, w.paused, w.parent`;

const LOAD_WORKFLOWS = {
  name: 'load-workflows',
  text: `select ${WORKFLOW_COLUMNS}, w.snapshot from workflows w where w.workflow_id = any ($1)`,
};

const LOAD_EVENTS = {
  name: 'load-events',
  text: `select workflow_id, seq, type, data, message_id, at_ms from events where workflow_id = any ($1) order by workflow_id, seq`,
};

const PLACEMENTS = {
  name: 'placements',
  text: `select a.workflow_id, a.activity_id, a.worker_id, a.lane_partition
    from unnest($1::text[], $2::text[], $3::int[]) as q(workflow_id, activity_id, epoch)
    join activities a on a.workflow_id = q.workflow_id and a.activity_id = q.activity_id and a.epoch = q.epoch
    where a.state = 'placed' and a.worker_id is not null and a.lane_partition is not null`,
};

const OPEN_WORKFLOWS = `select ${WORKFLOW_COLUMNS}, null::jsonb as snapshot from workflows w
  where w.status in ('open', 'parked') and w.partition = any ($1)`;

const OPEN_ACTIVITIES = `select a.* from workflows w join activities a on a.workflow_id = w.workflow_id
  where w.status = 'open' and w.partition = any ($1) and a.state in ('queued', 'placed', 'running')`;

interface WorkflowColumns {
  workflow_id: string;
  partition: number;
  definition: string;
  job_id: string;
  project: string;
  priority: number;
  submitted_at_ms: number;
  status: WorkflowRow['status'];
  state: string;
  seq: number;
  running: boolean;
  deadline_at_ms: number;
  snapshot: WorkflowState | null;
  snapshot_seq: number;
  parked_reason: string | null;
  paused: boolean;
  parent: WorkflowRow['parent'];
}

interface EventColumns {
  workflow_id: string;
  seq: number;
  type: string;
  data: unknown;
  message_id: string;
  at_ms: number;
}

interface ActivityColumns {
  workflow_id: string;
  activity_id: string;
  name: string;
  lane: string;
  state: string;
  epoch: number;
  failures: number;
  preemptions: number;
  not_before_ms: number;
  queued_at_ms: number;
  placed_at_ms: number | null;
  started_at_ms: number | null;
  ended_at_ms: number | null;
  start_to_close_ms: number;
  worker_id: string | null;
  incarnation: string | null;
  lane_partition: number | null;
  error: unknown;
  waiting_ms: number;
  useful_ms: number;
  lost_ms: number;
}

const workflowRow = (row: WorkflowColumns): WorkflowRow => ({
  workflowId: row.workflow_id,
  partition: row.partition,
  definition: row.definition,
  jobId: row.job_id,
  project: row.project,
  priority: row.priority,
  submittedAtMs: row.submitted_at_ms,
  status: row.status,
  state: row.state,
  seq: row.seq,
  running: row.running,
  deadlineAtMs: row.deadline_at_ms,
  snapshotJson: null,
  snapshotSeq: row.snapshot_seq,
  parkedReason: row.parked_reason,
  paused: row.paused,
  parent: row.parent,
});

const activityRow = (row: ActivityColumns): ActivityRow => ({
  workflowId: row.workflow_id,
  activityId: row.activity_id,
  name: row.name,
  lane: row.lane,
  state: row.state,
  epoch: row.epoch,
  failures: row.failures,
  preemptions: row.preemptions,
  notBeforeMs: row.not_before_ms,
  queuedAtMs: row.queued_at_ms,
  placedAtMs: row.placed_at_ms,
  startedAtMs: row.started_at_ms,
  endedAtMs: row.ended_at_ms,
  startToCloseMs: row.start_to_close_ms,
  workerId: row.worker_id,
  incarnation: row.incarnation,
  lanePartition: row.lane_partition,
  errorJson: row.error === null ? null : JSON.stringify(row.error),
  waitingMs: row.waiting_ms,
  usefulMs: row.useful_ms,
  lostMs: row.lost_ms,
});
