import { int4Array, jsonbArray, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import type { JobRow, JobStore } from '../../app/ports.ts';
import type { TransactionalPublisher } from './job-store.ts';

type NewJobs = Parameters<JobStore['insertAll']>[0];

/** What `JobStore.insertAll` says: multi-row statements, one transaction, one publish. */
export async function insertJobs(
  database: Database,
  bus: TransactionalPublisher,
  jobs: NewJobs,
): Promise<ReadonlySet<string>> {
  if (jobs.length === 0) return new Set();
  return database.transaction(async (tx) => {
    // Budgets first, in the order of the names: whoever locks several projects does so in one order. A reservation for a job that then turns
    // out to be taken is given back below.
    const affordable = await reserve(tx, jobs);
    const candidates = jobs.filter(({ job }) => affordable.has(job.project));
    const stored = await insert(
      tx,
      candidates.map(({ job }) => job),
    );
    await settleReservations(
      tx,
      candidates.map(({ job }) => job),
      stored,
    );
    await bus.publishIn(
      tx,
      candidates.flatMap(({ job, messages }) => (stored.has(job.id) ? messages : [])),
    );
    return stored;
  });
}

/** Reserves the sum of each project's estimates; the projects that could pay for all. */
async function reserve(tx: Queryable, jobs: NewJobs): Promise<ReadonlySet<string>> {
  const sums = new Map<string, number>();
  for (const { job } of jobs) sums.set(job.project, (sums.get(job.project) ?? 0) + job.gpuSecondsEstimate);
  const projects = [...sums.keys()].sort();
  const { rows } = await tx.query<{ id: string }>(
    `with asked as (select * from unnest($1::text[], $2::float8[]) as a(id, seconds)),
     locked as (select p.id from projects p join asked using (id) order by p.id for no key update of p)
     update projects p set gpu_seconds_reserved = p.gpu_seconds_reserved + a.seconds
     from asked a join locked l using (id)
     where p.id = a.id and p.gpu_seconds_budget - p.gpu_seconds_used - p.gpu_seconds_reserved >= a.seconds returning p.id`,
    [textArray(projects), projects.map((project) => sums.get(project) ?? 0)],
  );
  return new Set(rows.map((row) => row.id));
}

async function insert(tx: Queryable, jobs: readonly JobRow[]): Promise<ReadonlySet<string>> {
  const { rows } = await tx.query<{ id: string }>(INSERT_JOBS, [
    textArray(jobs.map((job) => job.id)),
    textArray(jobs.map((job) => job.project)),
    textArray(jobs.map((job) => job.type)),
    textArray(jobs.map((job) => job.idempotencyKey)),
    textArray(jobs.map((job) => job.requestDigest)),
    textArray(jobs.map((job) => job.workflowId)),
    int4Array(jobs.map((job) => job.priority)),
    jsonbArray(jobs.map((job) => JSON.stringify(job.spec))),
    jsonbArray(jobs.map((job) => JSON.stringify(job.labels))),
    textArray(jobs.map((job) => job.description)),
    textArray(jobs.map((job) => job.status)),
    jobs.map((job) => job.gpuSecondsEstimate),
    jobs.map((job) => job.submittedAt),
    textArray(jobs.map((job) => job.submittedBy)),
  ]);
  return new Set(rows.map((row) => row.id));
}

/** A ledger row for each stored job; what was reserved for the others goes back. */
async function settleReservations(tx: Queryable, jobs: readonly JobRow[], stored: ReadonlySet<string>): Promise<void> {
  const kept = jobs.filter((job) => stored.has(job.id));
  await tx.query(
    `insert into budget_ledger (project, job_id, kind, gpu_seconds_reserved, gpu_seconds_used)
     select project, job, 'reserve', seconds, 0 from unnest($1::text[], $2::text[], $3::float8[]) as r(project, job, seconds)`,
    [
      textArray(kept.map((job) => job.project)),
      textArray(kept.map((job) => job.id)),
      kept.map((job) => job.gpuSecondsEstimate),
    ],
  );
  const taken = jobs.filter((job) => !stored.has(job.id));
  if (taken.length === 0) return;
  await tx.query(
    `update projects p set gpu_seconds_reserved = p.gpu_seconds_reserved - b.seconds
     from (select project, sum(seconds) as seconds from unnest($1::text[], $2::float8[]) as u(project, seconds) group by 1) b
     where p.id = b.project`,
    [textArray(taken.map((job) => job.project)), taken.map((job) => job.gpuSecondsEstimate)],
  );
}

const INSERT_JOBS = {
  name: 'gateway_insert_jobs',
  // No conflict target, as in the statement for one (job-rows.ts). A key that comes twice in the batch is stored once.
  text: `
    insert into jobs (id, project, type, idempotency_key, request_digest, workflow_id, priority, spec, labels, description, status,
                      gpu_seconds_estimate, submitted_at, submitted_by)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::jsonb[], $9::jsonb[],
                         $10::text[], $11::text[], $12::float8[], $13::timestamptz[], $14::text[])
    on conflict do nothing returning id`,
};
