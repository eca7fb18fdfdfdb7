import { textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import type { UpgradeCheckBatch, UpgradeCheckSource } from '../app/upgrade-check.ts';
import type { Fact } from '../domain/facts.ts';
import type { RecordedFact, StoredActivity, StoredProjection } from '../domain/replay-check.ts';

/**
 * Reads the orchestrator's tables of a live database: every batch in a transaction of its own that can write nothing and sees one moment,
 * since log and projection change together. Only columns of the first release's tables, so that it runs before the migrations of this one.
 */
export class PostgresUpgradeSource implements UpgradeCheckSource {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  batch<T>(work: (batch: UpgradeCheckBatch) => Promise<T>): Promise<T> {
    return this.#database.transaction(async (tx) => {
      await tx.query('set transaction isolation level repeatable read, read only');
      return work({
        workflows: (afterId, limit) => workflows(tx, afterId, limit),
        facts: (ids, after, limit) => facts(tx, ids, after, limit),
      });
    });
  }
}

interface WorkflowColumns {
  readonly workflow_id: string;
  readonly definition: string;
  readonly status: StoredProjection['status'];
  readonly state: string;
  readonly seq: number;
  readonly snapshot: StoredProjection['snapshot'];
  readonly snapshot_seq: number;
  readonly parked_reason: string | null;
}

async function workflows(tx: Queryable, afterId: string, limit: number): Promise<StoredProjection[]> {
  const { rows } = await tx.query<WorkflowColumns>(WORKFLOWS, [afterId, limit]);
  const ids = textArray(rows.map((row) => row.workflow_id));
  const activities = await tx.query<StoredActivity & { workflowId: string }>(ACTIVITIES, [ids]);
  const timers = await tx.query<{ workflow_id: string; name: string; fire_at_ms: number }>(TIMERS, [ids]);
  const activitiesOf = Map.groupBy(activities.rows, (row) => row.workflowId);
  const timersOf = Map.groupBy(timers.rows, (row) => row.workflow_id);
  return rows.map((row) => ({
    workflowId: row.workflow_id,
    definition: row.definition,
    status: row.status,
    state: row.state,
    seq: row.seq,
    snapshot: row.snapshot,
    snapshotSeq: row.snapshot_seq,
    parkedReason: row.parked_reason,
    activities: activitiesOf.get(row.workflow_id) ?? [],
    timers: (timersOf.get(row.workflow_id) ?? []).map(({ name, fire_at_ms: fireAtMs }) => ({ name, fireAtMs })),
  }));
}

interface EventColumns {
  readonly workflow_id: string;
  readonly seq: number;
  readonly type: string;
  readonly data: unknown;
  readonly message_id: string;
  readonly at_ms: number;
  readonly state: string;
}

async function facts(
  tx: Queryable,
  workflowIds: readonly string[],
  after: { readonly workflowId: string; readonly seq: number },
  limit: number,
): Promise<(RecordedFact & { readonly workflowId: string })[]> {
  const { rows } = await tx.query<EventColumns>(FACTS, [textArray(workflowIds), after.workflowId, after.seq, limit]);
  return rows.map((row) => ({
    workflowId: row.workflow_id,
    seq: row.seq,
    messageId: row.message_id,
    atMs: row.at_ms,
    fact: { type: row.type, data: row.data } as Fact,
    state: row.state,
  }));
}

const WORKFLOWS = `select workflow_id, definition, status, state, seq, snapshot, snapshot_seq, parked_reason
  from workflows where status in ('open', 'parked') and workflow_id > $1 order by workflow_id limit $2`;

const ACTIVITIES = `select workflow_id as "workflowId", activity_id as "activityId", state, epoch, failures, preemptions,
    not_before_ms as "notBeforeMs", start_to_close_ms as "startToCloseMs", waiting_ms as "waitingMs", useful_ms as "usefulMs",
    lost_ms as "lostMs"
  from activities where workflow_id = any ($1)`;

const TIMERS = 'select workflow_id, name, fire_at_ms from timers where workflow_id = any ($1)';

const FACTS = `select workflow_id, seq, type, data, message_id, at_ms, state from events
  where workflow_id = any ($1) and (workflow_id, seq) > ($2, $3) order by workflow_id, seq limit $4`;
