import type { OutgoingMessage } from '#lib/bus/port.ts';
import { FINAL_STATUSES, JOB_STATUS, type JobStatus } from '#lib/contracts/jobs.ts';
import { type Database, type Queryable, sqlState } from '#lib/postgres/database.ts';
import type { Inserted, JobFailure, JobRow, JobStore, SnapshotQuery, SubmissionSnapshot } from '../../app/ports.ts';
import type { Budget } from '../../domain/budget.ts';
import { insertJobs } from './job-batch.ts';
import { DELETED_LABEL, INSERT_JOB, insertValues, JOB_COLUMNS, type JobRecord, jobRow, VISIBLE } from './job-rows.ts';
import { readSnapshots } from './submission-snapshots.ts';

/** Messages that appear if and only if the transaction commits. */
export interface TransactionalPublisher {
  publishIn(
    tx: Queryable,
    messages: readonly OutgoingMessage[],
    options?: { readonly inOrder?: boolean },
  ): Promise<void>;
  publish(messages: readonly OutgoingMessage[]): Promise<void>;
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

  async snapshot(query: SnapshotQuery): Promise<SubmissionSnapshot | null> {
    const [snapshot = null] = await this.snapshots([query]);
    return snapshot;
  }

  snapshots(queries: readonly SnapshotQuery[]): Promise<readonly (SubmissionSnapshot | null)[]> {
    return readSnapshots(this.#database, queries);
  }

  insert(job: JobRow, messages: readonly OutgoingMessage[]): Promise<Inserted> {
    return despiteDeadlocks(() => this.#insertOnce(job, messages));
  }

  insertAll(jobs: Parameters<JobStore['insertAll']>[0]): Promise<ReadonlySet<string>> {
    return despiteDeadlocks(() => insertJobs(this.#database, this.#bus, jobs));
  }

  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    await this.#bus.publish(messages);
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
    const { rows } = await this.#database.query<BudgetRecord>(
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

  publishWhile(
    id: string,
    statuses: readonly JobStatus[],
    messages: readonly OutgoingMessage[],
  ): Promise<{ job: JobRow; published: boolean } | null> {
    return this.#database.transaction(async (tx) => {
      const { rows } = await tx.query<JobRecord>(
        `select ${JOB_COLUMNS} from jobs where id = $1 and ${VISIBLE} for share`,
        [id],
      );
      const job = one(rows);
      if (job === null) return null;
      if (!statuses.includes(job.status)) return { job, published: false };
      // A request about a job must not overtake the start, which may still lie in the outbox of a gateway that has died.
      await this.#bus.publishIn(tx, messages, { inOrder: true });
      return { job, published: true };
    });
  }

  async failureOf({ id, workflowId }: Pick<JobRow, 'id' | 'workflowId'>): Promise<JobFailure> {
    const { rows } = await this.#database.query<JobFailure>(
      `select coalesce((select count(*) = 1 and bool_and(activity_id = name) from activities where workflow_id = $1 and state = 'failed'), false)
                as "singleStep",
              (select id from jobs where parent_job_id = $2 and status = $3 order by submitted_at, id limit 1) as "childId"`,
      [workflowId, id, JOB_STATUS.failed],
    );
    return rows[0] ?? { singleStep: false, childId: null };
  }

  async change(id: string, change: Parameters<JobStore['change']>[1]): Promise<JobRow | null> {
    const { rows } = await this.#database.query<JobRecord>(
      `update jobs set labels = coalesce($2::jsonb, labels), description = coalesce($3, description)
       where id = $1 and ${VISIBLE} returning ${JOB_COLUMNS}`,
      [id, change.labels === undefined ? null : JSON.stringify(change.labels), change.description ?? null],
    );
    return one(rows);
  }

  async hide(id: string): Promise<boolean> {
    const { rows } = await this.#database.query(
      `update jobs set labels = labels || jsonb_build_object('${DELETED_LABEL}', now()::text)
       where (id = $1 or parent_job_id = $1) and ${VISIBLE}
         and not exists (select from jobs j where (j.id = $1 and j.status <> all ($2)) or (j.parent_job_id = $1 and j.status <> all ($3)))
       returning id`,
      // A pruned trial rests until somebody revives it.
      [id, FINAL_STATUSES, [...FINAL_STATUSES, 'PAUSED']],
    );
    return rows.length > 0;
  }
}

async function despiteDeadlocks<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (sqlState(error) !== DEADLOCK || attempt === TRIES) throw error;
    }
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

interface BudgetRecord {
  gpu_seconds_budget: number;
  gpu_seconds_reserved: number;
  gpu_seconds_used: number;
}

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
