-- As in 0012; new: a job whose canary ended badly puts its candidate away, but not when people have put that very version into prod meanwhile.
create or replace function promotion_append(
  p_project text[], p_model text[], p_version int[], p_stage text[], p_job text[], p_by text[], p_reason text[], p_at bigint[]) returns void
language plpgsql as $$
declare
  asked record;
  head promotion_heads;
begin
  for asked in
    select * from unnest(p_project, p_model, p_version, p_stage, p_job, p_by, p_reason, p_at) with ordinality
      as a(project, model, version, stage, job, requester, reason, at_ms, nth)
    order by a.project collate "C", a.model collate "C", a.nth
  loop
    head := promotion_lock(asked.project, asked.model);
    continue when asked.job is not null and (
      (asked.stage <> 'prod' and head.prod_version = asked.version)
      or exists (
        select 1 from promotions p
        where p.job_id = asked.job and p.project = asked.project and p.model = asked.model and p.version = asked.version and p.stage = asked.stage));
    perform promotion_write(head, asked.version, asked.stage, 'promote', null, asked.job, asked.requester, asked.reason, asked.at_ms);
  end loop;
end $$;
