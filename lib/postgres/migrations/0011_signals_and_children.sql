-- Workflows that start others, are paused and revived, and ask people.

-- A child is a job too: it is seen, cancelled, resumed and retried like any other. Its money is its parent's reservation.
alter table jobs
  add column parent_job_id text,
  -- Key id of whoever asked; null for jobs of former releases. Nobody approves a job of their own.
  add column submitted_by text;
create index jobs_by_parent on jobs (parent_job_id) where parent_job_id is not null;

alter table workflows
  -- Nothing of it is placed while true.
  add column paused boolean not null default false,
  -- {workflowId, childId, reports}: who started it and which curve it reports there.
  add column parent jsonb;

-- Projection of the tickets in the logs, one row a ticket; the votes with their hash chain are in the log.
create table approvals (
  -- <job id>-<approval>: what the API calls it.
  id text primary key,
  project text not null,
  job_id text not null,
  workflow_id text not null,
  approval text not null,
  status text not null check (status in ('open', 'approved', 'rejected', 'expired', 'voided', 'cancelled')),
  -- What was reviewed, and the SHA-256 of its canonical JSON: a vote names it.
  subject jsonb not null,
  digest text not null,
  submitted_by text,
  required int not null,
  -- Key ids that may answer; null = every approver.
  approvers jsonb,
  -- [{by, decision, comment, atMs, hash}]: hash = SHA-256 over the hash before it and the vote.
  votes jsonb not null,
  requested_at_ms bigint not null,
  expires_at_ms bigint not null,
  decided_at_ms bigint,
  reminders int not null default 0
);
create index approvals_by_project on approvals (project, requested_at_ms desc, id desc);

create function orchestrator_save_workflow_extras(w_id text[], w_paused boolean[], w_parent jsonb[], w_deadline bigint[]) returns void
language plpgsql set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
begin
  update workflows w set paused = u.paused, parent = u.parent, deadline_at_ms = u.deadline
  from unnest(w_id, w_paused, w_parent, w_deadline) as u(id, paused, parent, deadline)
  where w.workflow_id = u.id;
end $$;

-- The rows of child jobs; project, priority, labels and submitter are the parent's.
create function orchestrator_save_children(
  c_id text[], c_parent text[], c_type text[], c_key text[], c_workflow text[], c_spec jsonb[], c_at bigint[]) returns void
language plpgsql set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
begin
  insert into jobs (id, project, type, idempotency_key, request_digest, workflow_id, priority, spec, labels, description, status,
                    gpu_seconds_estimate, submitted_at, parent_job_id, submitted_by)
  select u.id, p.project, u.type, p.idempotency_key || u.key, '', u.workflow, p.priority, u.spec, p.labels, '', 'SUBMITTED',
         0, to_timestamp(u.at_ms / 1000.0), p.id, p.submitted_by
  from unnest(c_id, c_parent, c_type, c_key, c_workflow, c_spec, c_at) as u(id, parent, type, key, workflow, spec, at_ms)
  join jobs p on p.id = u.parent
  on conflict do nothing;
end $$;

create function orchestrator_save_approvals(
  a_id text[], a_project text[], a_job text[], a_workflow text[], a_approval text[], a_status text[], a_subject jsonb[], a_digest text[],
  a_submitted_by text[], a_required int[], a_approvers jsonb[], a_votes jsonb[], a_requested bigint[], a_expires bigint[], a_decided bigint[],
  a_reminders int[]) returns void
language plpgsql as $$
begin
  insert into approvals (id, project, job_id, workflow_id, approval, status, subject, digest, submitted_by, required, approvers, votes,
                         requested_at_ms, expires_at_ms, decided_at_ms, reminders)
  select * from unnest(a_id, a_project, a_job, a_workflow, a_approval, a_status, a_subject, a_digest, a_submitted_by, a_required,
                       a_approvers, a_votes, a_requested, a_expires, a_decided, a_reminders)
  on conflict (id) do update set status = excluded.status, votes = excluded.votes, decided_at_ms = excluded.decided_at_ms,
    subject = excluded.subject, digest = excluded.digest, requested_at_ms = excluded.requested_at_ms,
    expires_at_ms = excluded.expires_at_ms, reminders = excluded.reminders;
end $$;

-- A retried job runs again: its end is taken back, and what it uses from now on is booked when it ends again.
create function orchestrator_reopen_jobs(j_id text[]) returns void
language plpgsql as $$
begin
  update jobs set finished_at = null, result = null, error = null where id = any (j_id);
end $$;

-- As before, and a second end books the difference: a retried job settles again.
create or replace function orchestrator_save_jobs(
  j_id text[], j_status text[], j_step text[], j_result jsonb[], j_error jsonb[], j_at bigint[], j_finished boolean[], j_gpu_seconds double precision[])
returns void
language plpgsql set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
begin
  update jobs j set
    status = u.status, step = u.step, result = coalesce(u.result, j.result), error = coalesce(u.error, j.error),
    started_at = case when u.status = 'RUNNING' then coalesce(j.started_at, to_timestamp(u.at_ms / 1000.0)) else j.started_at end,
    finished_at = case when u.finished then to_timestamp(u.at_ms / 1000.0) else j.finished_at end
  from unnest(j_id, j_status, j_step, j_result, j_error, j_at, j_finished) as u(id, status, step, result, error, at_ms, finished)
  where j.id = u.id;

  if true = any (j_finished) then
    with ended as (
      select j.project, j.id, j.gpu_seconds_estimate, u.gpu_seconds, l.gpu_seconds_used as booked
      from unnest(j_id, j_finished, j_gpu_seconds) as u(id, finished, gpu_seconds)
      join jobs j on j.id = u.id
      left join budget_ledger l on l.job_id = u.id and l.kind = 'settle'
      where u.finished),
    settled as (
      insert into budget_ledger as b (project, job_id, kind, gpu_seconds_reserved, gpu_seconds_used)
      select project, id, 'settle', -gpu_seconds_estimate, gpu_seconds from ended
      on conflict (job_id, kind) do update set gpu_seconds_used = excluded.gpu_seconds_used
      returning b.job_id),
    sums as (
      select e.project, sum(case when e.booked is null then -e.gpu_seconds_estimate else 0 end) as reserved,
             sum(e.gpu_seconds - coalesce(e.booked, 0)) as used
      from ended e join settled s on s.job_id = e.id group by e.project)
    update projects p set
      gpu_seconds_reserved = greatest(0, p.gpu_seconds_reserved + sums.reserved),
      gpu_seconds_used = p.gpu_seconds_used + sums.used
    from sums where p.id = sums.project;
  end if;
end $$;
