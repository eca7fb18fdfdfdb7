import type { JobStatus } from '#lib/contracts/jobs.ts';
import type { Queryable } from '#lib/postgres/database.ts';
import { VISIBLE } from './job-rows.ts';

export interface TrialRecord {
  job_id: string;
  status: JobStatus;
  spec: unknown;
  /** What the search calls it; null until the orchestrator has taken it in. */
  child: string | null;
  /** The newest point of the curve; null: none yet. */
  step: number | null;
  value: number | null;
  gpu_seconds: number;
}

/** The schema's bound on the trials of a search. */
const MAX_TRIALS = 1_000;

/** The trials of a search that were started, in that order, each with the newest point of its curve. */
export async function listTrials(database: Queryable, jobId: string, metric: string): Promise<TrialRecord[]> {
  const { rows } = await database.query<TrialRecord>(
    `select j.id as job_id, j.status, j.spec, w.parent ->> 'childId' as child, m.step, m.value,
            coalesce(a.gpu_seconds, 0)::float8 as gpu_seconds
     from (select * from jobs where parent_job_id = $1 and ${VISIBLE} order by submitted_at, id limit ${MAX_TRIALS}) j
     left join workflows w on w.workflow_id = j.workflow_id
     left join lateral (
       select step, value from job_metrics where job_id = j.id and name = $2 and activity = 'run_training' order by step desc limit 1
     ) m on true
     left join lateral (
       select sum(useful_ms + lost_ms)::float8 / 1000 as gpu_seconds from activities
       where workflow_id = j.workflow_id and lane = 'gpu'
     ) a on true
     order by j.submitted_at, j.id`,
    [jobId, metric],
  );
  return rows;
}
