import type { Queryable } from '#lib/postgres/database.ts';
import type { JobRow } from '../../app/ports.ts';
import { JOB_COLUMNS, type JobRecord, jobRow, VISIBLE } from './job-rows.ts';

export interface JobFilter {
  /** Null = every project. */
  readonly project: string | null;
  readonly statuses: readonly string[];
  readonly types: readonly string[];
  /** Each must be there with this value. */
  readonly labels: Readonly<Record<string, string>>;
  /** Jobs that another one started: left out, among the others, or only those of one. */
  readonly children: 'hidden' | 'shown' | { readonly of: string };
}

/** Where a page ended: submission time (PostgreSQL text, microseconds) and id. */
export type JobPosition = readonly [submittedAt: string, id: string];

/** Newest first. */
export async function listJobs(
  database: Queryable,
  filter: JobFilter,
  page: { readonly limit: number; readonly after: JobPosition | null },
): Promise<{ jobs: JobRow[]; next: JobPosition | null }> {
  const values: unknown[] = [];
  const value = (item: unknown): string => `$${values.push(item)}`;
  const conditions = [VISIBLE];
  if (filter.project !== null) conditions.push(`project = ${value(filter.project)}`);
  if (filter.statuses.length > 0) conditions.push(`status = any (${value(filter.statuses)})`);
  if (filter.types.length > 0) conditions.push(`type = any (${value(filter.types)})`);
  if (Object.keys(filter.labels).length > 0) conditions.push(`labels @> ${value(JSON.stringify(filter.labels))}`);
  if (filter.children === 'hidden') conditions.push('parent_job_id is null');
  else if (filter.children !== 'shown') conditions.push(`parent_job_id = ${value(filter.children.of)}`);
  if (page.after !== null)
    conditions.push(`(submitted_at, id) < (${value(page.after[0])}::timestamptz, ${value(page.after[1])})`);
  const { rows } = await database.query<JobRecord & { submitted_text: string }>(
    `select ${JOB_COLUMNS}, submitted_at::text as submitted_text from jobs where ${conditions.join(' and ')}
     order by submitted_at desc, id desc limit ${value(page.limit + 1)}`,
    values,
  );
  const shown = rows.slice(0, page.limit);
  const last = shown.at(-1);
  return {
    jobs: shown.map((row) => jobRow(row)),
    next: rows.length > page.limit && last !== undefined ? [last.submitted_text, last.id] : null,
  };
}

export interface LaneSeconds {
  readonly useful: number;
  readonly lost: number;
  readonly waiting: number;
}

/** Lane time by workflow id, over all activities and attempts that have ended; ids without any are left out. */
export async function laneSeconds(
  database: Queryable,
  workflowIds: readonly string[],
): Promise<ReadonlyMap<string, LaneSeconds>> {
  const { rows } = await database.query<{ workflow_id: string } & LaneSeconds>(
    {
      name: 'gateway_lane_seconds',
      text: `
        select workflow_id, sum(useful_ms)::float8 / 1000 as useful, sum(lost_ms)::float8 / 1000 as lost,
               sum(waiting_ms)::float8 / 1000 as waiting
        from activities where workflow_id = any ($1) group by workflow_id`,
    },
    [workflowIds],
  );
  return new Map(rows.map(({ workflow_id: id, ...seconds }) => [id, seconds]));
}

export interface ActivityRecord {
  activity_id: string;
  name: string;
  lane: string;
  state: string;
  epoch: number;
  failures: number;
  preemptions: number;
  queued_at_ms: number;
  started_at_ms: number | null;
  ended_at_ms: number | null;
  worker_id: string | null;
  progress: unknown;
  wait_reason: string | null;
  error: unknown;
  waiting_ms: number;
  useful_ms: number;
  lost_ms: number;
}

/** In the order in which they were queued first. */
export async function listActivities(database: Queryable, workflowId: string): Promise<ActivityRecord[]> {
  const { rows } = await database.query<ActivityRecord>(
    `select activity_id, name, lane, state, epoch, failures, preemptions, queued_at_ms, started_at_ms, ended_at_ms, worker_id, progress,
            wait_reason, error, waiting_ms, useful_ms, lost_ms
     from activities where workflow_id = $1 order by queued_at_ms, activity_id limit 1000`,
    [workflowId],
  );
  return rows;
}

/** Output of the activity's completion in the log, or null while it has none. */
export async function activityOutput(database: Queryable, workflowId: string, activityId: string): Promise<unknown> {
  const { rows } = await database.query<{ output: unknown }>(
    `select data -> 'output' as output from events
     where workflow_id = $1 and type = 'ActivityCompleted' and data ->> 'activityId' = $2 order by seq desc limit 1`,
    [workflowId, activityId],
  );
  return rows[0]?.output ?? null;
}

export interface Series {
  readonly name: string;
  /** The step of the flow that reported it. */
  readonly activity: string;
  /** Points there are; fewer are returned when it is more than asked for. */
  readonly total: number;
  readonly points: readonly { readonly step: number; readonly value: number }[];
}

/** Training curves by name and activity; a long one is thinned out evenly, its first and last point always kept. */
export async function trainingCurves(
  database: Queryable,
  jobId: string,
  options: { readonly name: string | null; readonly afterStep: number; readonly maxPoints: number },
): Promise<Series[]> {
  const { rows } = await database.query<{ name: string; activity: string; total: number; step: number; value: number }>(
    `select name, activity, total, step, value from (
       select name, activity, step, value, row_number() over w as n, count(*) over (partition by name, activity) as total
       from job_metrics where job_id = $1 and step > $2 and ($3::text is null or name = $3)
       window w as (partition by name, activity order by step)
     ) m
     where total <= $4 or (n - 1) % ceil((total - 1)::float8 / ($4 - 1))::bigint = 0 or n = total
     order by name, activity, step`,
    [jobId, options.afterStep, options.name, options.maxPoints],
  );
  const series: (Series & { points: { step: number; value: number }[] })[] = [];
  for (const { name, activity, total, step, value } of rows) {
    let current = series.at(-1);
    if (current?.name !== name || current.activity !== activity) {
      current = { name, activity, total, points: [] };
      series.push(current);
    }
    current.points.push({ step, value });
  }
  return series;
}
