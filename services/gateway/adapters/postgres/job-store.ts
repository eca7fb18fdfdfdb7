import type { OutgoingMessage } from '#lib/bus/port.ts';
import { FINAL_STATUSES } from '#lib/contracts/jobs.ts';
import { type Database, type Queryable, sqlState } from '#lib/postgres/database.ts';
import type { DatasetVersion, Inserted, JobRow, JobStore, SubmissionSnapshot } from '../../app/ports.ts';
import type { Budget } from '../../domain/budget.ts';
import { DELETED_LABEL, JOB_COLUMNS, type JobRecord, jobRow, VISIBLE } from './job-rows.ts';

/** Messages that appear if and only if the transaction commits. */
export interface TransactionalPublisher {
  publishIn(tx: Queryable, messages: readonly OutgoingMessage[]): Promise<void>;
}

const DEADLOCK = '40P01';
/** A deadlock with the orchestrator's settlement of the same project: PostgreSQL ends one of the two, which then simply tries again. */
const TRIES = 4;

export class PostgresJobStore implements JobStore {
  readonly #database: Database;
  readonly #bus: TransactionalPublisher;

  constructor(database: Database, bus: TransactionalPublisher) {
    this.#database = database;
    this.#bus = bus;
  }

  async snapshot(query: Parameters<JobStore['snapshot']>[0]): Promise<SubmissionSnapshot | null> {
    const { rows } = await this.#database.query<SnapshotRecord>(SNAPSHOT, [
      query.project,
      query.idempotencyKey,
      query.dataset,
      query.version,
    ]);
    const [row] = rows;
    return row === undefined ? null : snapshotOf(row, query.project, query.dataset);
  }

  async insert(job: JobRow, messages: readonly OutgoingMessage[]): Promise<Inserted> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#insertOnce(job, messages);
      } catch (error) {
        if (sqlState(error) !== DEADLOCK || attempt === TRIES) throw error;
      }
    }
  }

  async #insertOnce(job: JobRow, messages: readonly OutgoingMessage[]): Promise<Inserted> {
    try {
      await this.#database.transaction(async (tx) => {
        // A parallel request with the same key waits here until the first one has committed.
        const inserted = await tx.query(INSERT_JOB, insertValues(job));
        if (inserted.rowCount === 0) throw new Rollback('exists');
        // From here to the commit the project's row is locked: the budget's last word, then only the publish.
        const reserved = await tx.query(RESERVE, [job.project, job.gpuSecondsEstimate, job.id]);
        if (reserved.rowCount === 0) throw new Rollback('overBudget');
        await this.#bus.publishIn(tx, messages);
      });
      return { kind: 'created' };
    } catch (error) {
      if (!(error instanceof Rollback)) throw error;
      if (error.reason === 'overBudget') return { kind: 'overBudget', budget: await this.#budget(job.project) };
    }
    const { rows } = await this.#database.query<JobRecord>(
      {
        name: 'gateway_job_by_key',
        text: `select ${JOB_COLUMNS} from jobs where project = $1 and idempotency_key = $2`,
      },
      [job.project, job.idempotencyKey],
    );
    const [row] = rows;
    return { kind: 'exists', job: row === undefined ? null : jobRow(row) };
  }

  async #budget(project: string): Promise<Budget> {
    const { rows } = await this.#database.query<Omit<SnapshotRecord, 'job_id'>>(
      'select gpu_seconds_budget, gpu_seconds_reserved, gpu_seconds_used from projects where id = $1',
      [project],
    );
    const [row] = rows;
    return {
      gpuSecondsBudget: row?.gpu_seconds_budget ?? 0,
      gpuSecondsReserved: row?.gpu_seconds_reserved ?? 0,
      gpuSecondsUsed: row?.gpu_seconds_used ?? 0,
    };
  }

  async find(id: string, project: string | null): Promise<JobRow | null> {
    const { rows } = await this.#database.query<JobRecord>(
      {
        name: 'gateway_job',
        text: `select ${JOB_COLUMNS} from jobs where id = $1 and ($2::text is null or project = $2) and ${VISIBLE}`,
      },
      [id, project],
    );
    return one(rows);
  }

  publishUnlessFinal(
    id: string,
    messages: readonly OutgoingMessage[],
  ): Promise<{ job: JobRow; published: boolean } | null> {
    return this.#database.transaction(async (tx) => {
      const { rows } = await tx.query<JobRecord>(
        `select ${JOB_COLUMNS} from jobs where id = $1 and ${VISIBLE} for share`,
        [id],
      );
      const job = one(rows);
      if (job === null) return null;
      if (FINAL_STATUSES.includes(job.status)) return { job, published: false };
      await this.#bus.publishIn(tx, messages);
      return { job, published: true };
    });
  }

  async change(id: string, change: Parameters<JobStore['change']>[1]): Promise<JobRow | null> {
    const { rows } = await this.#database.query<JobRecord>(
      `update jobs set labels = coalesce($2::jsonb, labels), description = coalesce($3, description)
       where id = $1 and ${VISIBLE} returning ${JOB_COLUMNS}`,
      [id, change.labels === undefined ? null : JSON.stringify(change.labels), change.description ?? null],
    );
    return one(rows);
  }

  async hide(id: string): Promise<JobRow | null> {
    const { rows } = await this.#database.query<JobRecord>(
      `update jobs set labels = labels || jsonb_build_object('${DELETED_LABEL}', now()::text)
       where id = $1 and ${VISIBLE} and status = any ($2) returning ${JOB_COLUMNS}`,
      [id, FINAL_STATUSES],
    );
    return one(rows);
  }
}

/** Thrown through `transaction` to undo it without an error. */
class Rollback extends Error {
  readonly reason: 'exists' | 'overBudget';
  constructor(reason: 'exists' | 'overBudget') {
    super(reason);
    this.reason = reason;
  }
}

const one = (rows: readonly JobRecord[]): JobRow | null => (rows[0] === undefined ? null : jobRow(rows[0]));

interface SnapshotRecord {
  gpu_seconds_budget: number;
  gpu_seconds_reserved: number;
  gpu_seconds_used: number;
  job_id: string | null;
  request_digest: string;
  deleted: boolean;
  dataset_known: boolean;
  version: number | null;
  format: DatasetVersion['format'];
  object_key: string;
  sha256: string;
  bytes: number;
  created_at: Date;
}

const SNAPSHOT = {
  name: 'gateway_snapshot',
  text: `
    select p.gpu_seconds_budget, p.gpu_seconds_reserved, p.gpu_seconds_used,
           j.id as job_id, j.request_digest, j.labels ? '${DELETED_LABEL}' as deleted,
           exists (select from datasets k where k.project = p.id and k.name = $3) as dataset_known,
           d.version, d.format, d.object_key, d.sha256, d.bytes, d.created_at
    from projects p
    left join jobs j on j.project = p.id and j.idempotency_key = $2
    left join lateral (
      select * from datasets s where s.project = p.id and s.name = $3 and ($4::int is null or s.version = $4)
      order by s.version desc limit 1
    ) d on true
    where p.id = $1`,
};

function snapshotOf(row: SnapshotRecord, project: string, name: string): SubmissionSnapshot {
  const { job_id: id, request_digest: requestDigest, deleted, version } = row;
  return {
    budget: {
      gpuSecondsBudget: row.gpu_seconds_budget,
      gpuSecondsReserved: row.gpu_seconds_reserved,
      gpuSecondsUsed: row.gpu_seconds_used,
    },
    existing: id === null ? null : { id, requestDigest, deleted },
    datasetKnown: row.dataset_known,
    dataset:
      version === null
        ? null
        : {
            project,
            name,
            version,
            format: row.format,
            objectKey: row.object_key,
            sha256: row.sha256,
            bytes: row.bytes,
            createdAt: row.created_at,
          },
  };
}

const INSERT_JOB = {
  name: 'gateway_insert_job',
  // No conflict target: with one, a parallel insert could fail on the unique workflow id before it is seen to be the same key.
  text: `
    insert into jobs (id, project, type, idempotency_key, request_digest, workflow_id, priority, spec, labels, description, status,
                      gpu_seconds_estimate, submitted_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict do nothing`,
};

const insertValues = (job: JobRow): unknown[] => [
  job.id,
  job.project,
  job.type,
  job.idempotencyKey,
  job.requestDigest,
  job.workflowId,
  job.priority,
  JSON.stringify(job.spec),
  JSON.stringify(job.labels),
  job.description,
  job.status,
  job.gpuSecondsEstimate,
  job.submittedAt,
];

const RESERVE = {
  name: 'gateway_reserve',
  text: `
    with reserved as (
      update projects set gpu_seconds_reserved = gpu_seconds_reserved + $2
      where id = $1 and gpu_seconds_budget - gpu_seconds_used - gpu_seconds_reserved >= $2 returning id
    )
    insert into budget_ledger (project, job_id, kind, gpu_seconds_reserved, gpu_seconds_used)
    select id, $3, 'reserve', $2, 0 from reserved`,
};
