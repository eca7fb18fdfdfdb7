import type { Database } from '#lib/postgres/database.ts';
import { patiently } from './patience.ts';

/** One way in which the platform's own records can contradict what it promises. The statement returns a row per contradiction. */
export interface Invariant {
  readonly title: string;
  readonly statement: string;
}

/** Facts that an attempt reported and the fold took. */
const OF_ATTEMPT = `('ActivityStarted', 'CheckpointSaved', 'ActivityCompleted', 'ActivityFailed', 'ActivityYielded', 'ActivityDeclined', 'LeaseEnded')`;

/** True at every moment, while faults happen too. */
export const ALWAYS: readonly Invariant[] = [
  {
    title: 'the log of a workflow is numbered from 1 without gaps',
    statement: `select workflow_id, count(*)::int as facts, max(seq) as last from events
      group by workflow_id having count(*) <> max(seq) or min(seq) <> 1`,
  },
  {
    title: 'a message is at most one fact of a workflow',
    statement: `select workflow_id, message_id from events group by workflow_id, message_id having count(*) > 1`,
  },
  {
    title: 'an activity completes once',
    statement: `select workflow_id, data->>'activityId' as activity from events where type = 'ActivityCompleted'
      group by 1, 2 having count(*) > 1`,
  },
  {
    title: 'an attempt is reported by one worker',
    statement: `select workflow_id, data->>'activityId' as activity, data->>'epoch' as epoch from events
      where type in ('ActivityStarted', 'ActivityCompleted', 'ActivityFailed', 'ActivityYielded')
      group by 1, 2, 3 having count(distinct data->>'workerId') > 1`,
  },
  {
    title: 'no fact of an older attempt is taken after one of a newer',
    statement: `select workflow_id, seq, type from (
        select workflow_id, seq, type, (data->>'epoch')::int as epoch,
          max((data->>'epoch')::int) over (partition by workflow_id, data->>'activityId' order by seq) as newest
        from events where type in ${OF_ATTEMPT}) f
      where epoch < newest`,
  },
  {
    title: 'nothing of an attempt is taken after its lease has ended',
    statement: `select e.workflow_id, e.seq, e.type from events l join events e
        on e.workflow_id = l.workflow_id and e.seq > l.seq and e.data->>'activityId' = l.data->>'activityId'
        and e.data->>'epoch' = l.data->>'epoch' and e.type in ${OF_ATTEMPT}
      where l.type = 'LeaseEnded'`,
  },
  {
    // A trial is paid by its search.
    title: 'every accepted job has one reservation, a child none, and each at most one settlement',
    statement: `select j.id, count(*) filter (where b.kind = 'reserve')::int as reserved,
        count(*) filter (where b.kind = 'settle')::int as settled
      from jobs j left join budget_ledger b on b.job_id = j.id group by j.id
      having count(*) filter (where b.kind = 'reserve') <> (j.parent_job_id is null)::int or count(*) filter (where b.kind = 'settle') > 1`,
  },
  {
    title: 'a job is settled if and only if it has ended',
    statement: `select j.id, j.status from jobs j
      where (j.finished_at is not null) <> exists (select from budget_ledger b where b.job_id = j.id and b.kind = 'settle')`,
  },
  {
    title: "a project's budget is the sum of its ledger",
    statement: `select p.id, p.gpu_seconds_reserved, sum(b.gpu_seconds_reserved) as booked from projects p
      join budget_ledger b on b.project = p.id group by p.id
      having abs(p.gpu_seconds_reserved - sum(b.gpu_seconds_reserved)) > 0.001
        or abs(p.gpu_seconds_used - sum(b.gpu_seconds_used)) > 0.001`,
  },
  {
    title: 'a job has at most one model version, and versions of a model are numbered without gaps',
    statement: `select name, null as job_id, count(*)::int as versions, max(version) as last from registry_versions
        group by project, name having count(*) <> max(version)
      union all select min(name), job_id, count(*)::int, max(version) from registry_versions
        group by project, job_id having count(*) > 1`,
  },
  {
    title: 'the promotions of a model are numbered from 1 without gaps',
    statement: `select model, count(*)::int as promotions, max(seq) as last from promotions
      group by project, model having count(*) <> max(seq)`,
  },
  {
    // Nobody takes a version out of prod here but by putting another one there.
    title: 'whatever came into prod archived the version that was there, and the newest is the one that is shown',
    statement: `select model, seq, version, former_version, before from (
        select *, lag(version) over (partition by project, model order by seq) as before from promotions where stage = 'prod') p
        where former_version is distinct from nullif(before, version)
      union all select p.model, p.seq, p.version, p.former_version, s.version
        from (select distinct on (project, model) * from promotions where stage = 'prod' order by project, model, seq desc) p
        left join model_stages s on s.project = p.project and s.model = p.model and s.stage = 'prod'
        where s.version is distinct from p.version`,
  },
  {
    title: 'no workflow is parked',
    statement: `select workflow_id, parked_reason from workflows where status = 'parked'`,
  },
];

/** True once everything has ended. */
export const AT_REST: readonly Invariant[] = [
  {
    // A search and a retrain have times at which only their children do anything.
    title: 'useful, lost and waiting lane milliseconds add up to the time between first and last fact',
    statement: `select l.workflow_id, l.elapsed, a.booked from (
        select workflow_id, max(at_ms) - min(at_ms) as elapsed from events where type <> 'LateMessageIgnored' group by 1) l
      join (select workflow_id, sum(waiting_ms + useful_ms + lost_ms)::bigint as booked from activities group by 1) a
        using (workflow_id) join jobs j using (workflow_id)
      where j.type not in ('hpo', 'retrain') and l.elapsed <> a.booked`,
  },
  {
    title: 'every accepted job has a workflow, which is done',
    statement: `select j.id, w.status, w.state from jobs j left join workflows w on w.job_id = j.id
      where w.status is distinct from 'done' or j.finished_at is null`,
  },
  {
    title:
      'a completed job has one model version in the built-in registry (a search or retrain that of a child, an evaluation none), another one none, but for a retrain that came too late',
    statement: `select j.id, j.type, j.status, count(v.version)::int as versions
      from jobs j join jobs c on j.id in (c.id, c.parent_job_id) left join registry_versions v on v.job_id = c.id
      where j.parent_job_id is null
      group by j.id having count(v.version) <> (j.status in ('COMPLETED', 'REJECTED') and j.type <> 'eval_only')::int
        -- A cancelled job whose registration was under way may have made a version; it does not show it.
        and not (j.status = 'CANCELLED' and count(v.version) = 1 and exists (
          select from activities a join jobs o using (workflow_id)
          where j.id in (o.id, o.parent_job_id) and a.name in ('register_model', 'register_aligned_model')))`,
  },
  {
    title: 'a retrain that completed has put one version into prod, any other job none',
    statement: `select j.id, j.type, j.status, count(p.seq)::int as promotions
      from jobs j left join promotions p on p.job_id = j.id and p.stage = 'prod'
      group by j.id having count(p.seq) <> (j.status = 'COMPLETED' and j.type = 'retrain')::int`,
  },
  {
    title: 'a retrain that was rejected came too late: another job put a version into prod while it ran',
    statement: `select j.id, j.submitted_at, j.finished_at from jobs j
      where j.type = 'retrain' and j.status = 'REJECTED' and not exists (
        select from promotions p where p.project = j.project and p.model = j.spec->'model'->>'name' and p.stage = 'prod' and p.job_id <> j.id
          and p.at_ms between extract(epoch from j.submitted_at) * 1000 and extract(epoch from j.finished_at) * 1000)`,
  },
  {
    title: 'the built-in registry shows the stages of the ledger',
    statement: `select s.model, s.version, s.stage, v.stage as shown from model_stages s
      left join registry_versions v on v.project = s.project and v.name = s.model and v.version = s.version
      where v.stage is distinct from s.stage`,
  },
  {
    title: 'nothing is reserved any more',
    statement: 'select id, gpu_seconds_reserved from projects where gpu_seconds_reserved > 0.001',
  },
  {
    title: 'no activity is queued, placed or running, and no timer waits',
    statement: `select workflow_id, activity_id as what, state from activities where state in ('queued', 'placed', 'running')
      union all select workflow_id, name, 'timer' from timers`,
  },
];

/** True soon after everything has ended: both follow in the background, and may have waited for a peer. */
export const SOON: readonly Invariant[] = [
  { title: 'the outbox is empty', statement: 'select producer, seq, created_at from outbox' },
  {
    title: 'no promotion waits to be shown by the registry',
    statement: 'select model, seq, at_ms from promotions where synced_at_ms is null',
  },
];

/** Contradictions shown of each invariant. */
const SHOWN = 3;

/** One line per invariant that does not hold; none is the good answer. Waits while the database is away. */
export async function broken(database: Database, invariants: readonly Invariant[]): Promise<string[]> {
  const lines: string[] = [];
  for (const { title, statement } of invariants) {
    const { rows } = await patiently(() => database.query(statement));
    if (rows.length > 0) lines.push(`not so: ${title} (${rows.length} cases): ${JSON.stringify(rows.slice(0, SHOWN))}`);
  }
  return lines;
}
