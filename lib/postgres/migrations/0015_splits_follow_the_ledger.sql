-- While a split is open, the ledger decides who answers (docs/decisions/0013): a rollback, or any promotion by others that moves what the split deals
-- to, ends it in the same transaction; and a split opens only beside the version that is in prod at that moment.

-- Ended by the ledger, not by their workflows: the canary watch tells them.
create index traffic_splits_overruled on traffic_splits (id) where outcome in ('superseded', 'refused');

-- Ends the model's open split. The caller holds the lock of the model's head.
create function traffic_split_supersede(p_project text, p_model text, p_at bigint) returns void
language plpgsql as $$
begin
  update traffic_splits s set ended_at_ms = p_at, outcome = 'superseded'
  where s.project = p_project and s.model = p_model and s.ended_at_ms is null;
  if found then
    perform traffic_changed('traffic_splits', p_project, p_model, p_at);
  end if;
end $$;

-- As in 0012; new: the split.
create or replace function promotion_write(
  head promotion_heads, p_version int, p_stage text, p_kind text, p_top int, p_job text, p_by text, p_reason text, p_at bigint)
returns promotions
language plpgsql as $$
declare
  written promotions;
  -- In prod already: nobody is archived.
  moves boolean := p_stage = 'prod' and head.prod_version is distinct from p_version;
  -- Put where it was: nothing more can be rolled back than before.
  adds boolean;
  -- The open split of another job, if this moves what it deals to.
  overrules boolean;
begin
  adds := p_stage = 'prod' and p_kind = 'promote' and p_version is distinct from (
    select p.version from promotions p where p.project = head.project and p.model = head.model and p.seq = head.top_seq);
  insert into promotions (project, model, seq, version, stage, kind, former_version, former_seq, job_id, requested_by, reason, at_ms)
  values (head.project, head.model, head.last_seq + 1, p_version, p_stage, p_kind,
    case when moves then head.prod_version end, case when adds then head.top_seq end, p_job, p_by, p_reason, p_at)
  returning * into written;

  overrules := exists (
    select 1 from traffic_splits t
    where t.project = head.project and t.model = head.model and t.ended_at_ms is null and t.job_id is distinct from p_job
      -- Whatever takes prod, or leaves it; and a canary or baseline that is put elsewhere.
      and (moves or (p_stage <> 'prod' and head.prod_version = p_version) or (
        p_version in (t.canary_version, t.baseline_version) and p_stage is distinct from coalesce((
          select s.stage from model_stages s where s.project = head.project and s.model = head.model and s.version = p_version), 'dev'))));

  if moves then
    update model_stages s set stage = 'archived'
    where s.project = head.project and s.model = head.model and s.version = head.prod_version;
  end if;
  insert into model_stages as s (project, model, version, stage) values (head.project, head.model, p_version, p_stage)
  on conflict (project, model, version) do update set stage = excluded.stage where s.stage <> excluded.stage;

  update promotion_heads h set
    last_seq = written.seq,
    prod_version = case when p_stage = 'prod' then p_version when h.prod_version = p_version then null else h.prod_version end,
    top_seq = case
      when p_kind = 'rollback' then p_top
      when adds then written.seq
      -- Taken out of prod: it is not what a later rollback restores.
      when p_stage <> 'prod' and h.prod_version = p_version
        then (select p.former_seq from promotions p where p.project = h.project and p.model = h.model and p.seq = h.top_seq)
      else h.top_seq end
  where h.project = head.project and h.model = head.model;
  if overrules then
    perform traffic_split_supersede(head.project, head.model, p_at);
  end if;
  perform traffic_changed('model_stages', head.project, head.model, p_at);
  return written;
end $$;

-- Opens splits, under the lock of each model's head. One whose baseline is not in prod (any more), or whose model has another job's open, is stored as
-- one that ended at once, `refused`. Nothing is stored for a job that has had one of the model (a repeated call).
-- A model that the ledger has never had in prod keeps what its job knows: it was put there before there was a ledger.
create or replace function traffic_split_start(
  p_project text[], p_model text[], p_canary int[], p_baseline int[], p_weight float8[], p_job text[], p_workflow text[], p_policy jsonb[],
  p_at bigint[]) returns void
language plpgsql as $$
declare
  asked record;
  head promotion_heads;
  refused boolean;
begin
  for asked in
    select * from unnest(p_project, p_model, p_canary, p_baseline, p_weight, p_job, p_workflow, p_policy, p_at) with ordinality
      as a(project, model, canary, baseline, weight, job, workflow, policy, at_ms, nth)
    order by a.project collate "C", a.model collate "C", a.nth
  loop
    head := promotion_lock(asked.project, asked.model);
    continue when exists (
      select 1 from traffic_splits t where t.project = asked.project and t.model = asked.model and t.job_id = asked.job);
    refused := exists (select 1 from traffic_splits t where t.project = asked.project and t.model = asked.model and t.ended_at_ms is null)
      or (head.prod_version is distinct from asked.baseline and exists (
        select 1 from promotions p where p.project = asked.project and p.model = asked.model and p.stage = 'prod'));
    insert into traffic_splits (project, model, canary_version, baseline_version, weight_percent, job_id, workflow_id, policy, started_at_ms,
      ended_at_ms, outcome)
    values (asked.project, asked.model, asked.canary, asked.baseline, asked.weight, asked.job, asked.workflow, asked.policy, asked.at_ms,
      case when refused then asked.at_ms end, case when refused then 'refused' end);
    if not refused then
      perform traffic_changed('traffic_splits', asked.project, asked.model, asked.at_ms);
    end if;
  end loop;
end $$;
