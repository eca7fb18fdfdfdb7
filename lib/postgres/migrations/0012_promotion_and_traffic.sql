-- Promotions of model versions and the canary splits between two of them (docs/decisions/0013). Names sort by code point.
-- The ledger is the truth about stages; the model registry is brought in line with it afterwards (synced_at_ms).

create table promotion_heads (
  project  text not null collate "C" check (project <> ''),
  model    text not null collate "C" check (model <> ''),
  -- Locked by every promotion: rows of one model are written one after the other, their seq has no gaps.
  last_seq int  not null default 0 check (last_seq >= 0),
  -- The version in prod now; null when none is.
  prod_version int,
  -- The promotion that a rollback would undo while a version is in prod; with none in prod, the one it would restore.
  top_seq  int,
  primary key (project, model)
);

create table promotions (
  project        text   not null collate "C",
  model          text   not null collate "C",
  seq            int    not null check (seq >= 1),
  version        int    not null check (version >= 1),
  stage          text   not null check (stage in ('dev', 'staging', 'prod', 'archived')),
  kind           text   not null check (kind in ('promote', 'rollback')),
  -- The version that was prod until this row and is archived by it.
  former_version int    check (former_version <> version),
  -- The promotion that a rollback of this one restores. Only of stage prod.
  former_seq     int    check (former_seq < seq),
  -- The job whose workflow promoted; null: a person did.
  job_id         text,
  requested_by   text   not null check (requested_by <> ''),
  reason         text   not null,
  at_ms          bigint not null,
  -- When the model registry showed it; null until then.
  synced_at_ms   bigint,
  primary key (project, model, seq),
  foreign key (project, model) references promotion_heads,
  check (kind = 'promote' or (stage = 'prod' and job_id is null)),
  check (stage = 'prod' or (former_version is null and former_seq is null))
);
-- A job promotes a version to a stage once, however often its commit is repeated.
create unique index promotions_by_job on promotions (job_id, project, model, version, stage) where job_id is not null;
create index promotions_to_sync on promotions (project, model, seq) where synced_at_ms is null;

-- Projection of the ledger. A version without a row is where it was created: in dev.
create table model_stages (
  project text not null collate "C",
  model   text not null collate "C",
  version int  not null,
  stage   text not null check (stage in ('dev', 'staging', 'prod', 'archived')),
  primary key (project, model, version)
);
-- Whatever the code does.
create unique index model_stages_one_prod on model_stages (project, model) where stage = 'prod';

create function promotions_append_only() returns trigger
language plpgsql as $$
begin
  if tg_op = 'DELETE' or (to_jsonb(new) - 'synced_at_ms') <> (to_jsonb(old) - 'synced_at_ms') then
    raise exception 'the promotion ledger is append only' using errcode = 'TY012';
  end if;
  return new;
end $$;
create trigger promotions_append_only before update or delete on promotions for each row execute function promotions_append_only();

-- Models whose stages or splits changed since they were announced (lib/serving). A queue without locks: whoever announces takes them, reads the
-- present state and gives it the next revision.
create table traffic_changes (
  id      bigint generated always as identity primary key,
  project text   not null collate "C",
  model   text   not null collate "C",
  at_ms   bigint not null
);
create sequence traffic_revisions;

-- What is owed to a model server outside: the newest state of each model, sent until it is taken.
create table traffic_deliveries (
  project            text   not null collate "C",
  model              text   not null collate "C",
  revision           bigint not null,
  body               text   not null,
  delivered_revision bigint not null default 0,
  attempts           int    not null default 0,
  next_attempt_at_ms bigint not null,
  primary key (project, model)
);
create index traffic_deliveries_due on traffic_deliveries (next_attempt_at_ms) where delivered_revision < revision;

create function traffic_changed(p_channel text, p_project text, p_model text, p_at bigint) returns void
language plpgsql as $$
begin
  insert into traffic_changes (project, model, at_ms) values (p_project, p_model, p_at);
  perform pg_notify(p_channel, json_build_array(p_project, p_model)::text);
end $$;

-- One row of the ledger with its projection. The caller holds the lock of the model's head, which is passed as it is.
create function promotion_write(
  head promotion_heads, p_version int, p_stage text, p_kind text, p_top int, p_job text, p_by text, p_reason text, p_at bigint)
returns promotions
language plpgsql as $$
declare
  written promotions;
  -- In prod already: nobody is archived.
  moves boolean := p_stage = 'prod' and head.prod_version is distinct from p_version;
  -- Put where it was: nothing more can be rolled back than before.
  adds boolean;
begin
  adds := p_stage = 'prod' and p_kind = 'promote' and p_version is distinct from (
    select p.version from promotions p where p.project = head.project and p.model = head.model and p.seq = head.top_seq);
  insert into promotions (project, model, seq, version, stage, kind, former_version, former_seq, job_id, requested_by, reason, at_ms)
  values (head.project, head.model, head.last_seq + 1, p_version, p_stage, p_kind,
    case when moves then head.prod_version end, case when adds then head.top_seq end, p_job, p_by, p_reason, p_at)
  returning * into written;

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
  perform traffic_changed('model_stages', head.project, head.model, p_at);
  return written;
end $$;

create function promotion_lock(p_project text, p_model text) returns promotion_heads
language plpgsql as $$
declare
  head promotion_heads;
begin
  insert into promotion_heads (project, model) values (p_project, p_model) on conflict do nothing;
  select * into head from promotion_heads h where h.project = p_project and h.model = p_model for update;
  return head;
end $$;

-- Promotes versions to stages, element by element. A promotion to prod archives the version that was there, in the same row. An element whose
-- (job, project, model, version, stage) the ledger has adds nothing, whatever happened since; without a job (null) each call is a row.
-- Part of the caller's transaction; holds the models' rows until its end, taken in one order, so that two callers cannot block each other.
create function promotion_append(
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
    continue when asked.job is not null and exists (
      select 1 from promotions p
      where p.job_id = asked.job and p.project = asked.project and p.model = asked.model and p.version = asked.version and p.stage = asked.stage);
    perform promotion_write(head, asked.version, asked.stage, 'promote', null, asked.job, asked.requester, asked.reason, asked.at_ms);
  end loop;
end $$;

-- Puts the version back into prod that was there before the present one, and archives that. What was rolled back or taken out of prod does not
-- come back. `p_from`, when given, is the version to roll back from: a request that is repeated does not roll back twice.
-- TY010: there is no such version. TY011: another version (or none) is in prod. Neither changes anything.
create function promotion_rollback(p_project text, p_model text, p_by text, p_reason text, p_at bigint, p_from int default null)
returns promotions
language plpgsql as $$
declare
  head promotion_heads;
  target promotions;
begin
  select * into head from promotion_heads h where h.project = p_project and h.model = p_model for update;
  if p_from is not null and head.prod_version is distinct from p_from then
    raise exception 'version % of model % is not in prod', p_from, p_model using errcode = 'TY011';
  end if;
  select restored.* into target
  from promotions restored
  where restored.project = p_project and restored.model = p_model and restored.seq = case
    when head.prod_version is null then head.top_seq
    else (select p.former_seq from promotions p where p.project = p_project and p.model = p_model and p.seq = head.top_seq) end;
  if target.seq is null then
    raise exception 'model % has no former prod version', p_model using errcode = 'TY010';
  end if;
  return promotion_write(head, target.version, 'prod', 'rollback', target.seq, null, p_by, p_reason, p_at);
end $$;

-- The share of a model's requests that a canary answers instead of the baseline. Percent; which requests: lib/serving/split.ts.
create table traffic_splits (
  id               bigint generated always as identity primary key,
  project          text   not null collate "C" check (project <> ''),
  model            text   not null collate "C" check (model <> ''),
  canary_version   int    not null check (canary_version >= 1),
  baseline_version int    not null check (baseline_version >= 1),
  weight_percent   numeric not null check (weight_percent between 0 and 100),
  job_id           text   not null check (job_id <> ''),
  workflow_id      text   not null check (workflow_id <> ''),
  policy           jsonb  not null,
  started_at_ms    bigint not null,
  ended_at_ms      bigint,
  outcome          text,
  -- A job splits the traffic of a model once.
  unique (project, model, job_id),
  check (canary_version <> baseline_version),
  check ((ended_at_ms is null) = (outcome is null))
);
create unique index traffic_splits_one_open on traffic_splits (project, model) where ended_at_ms is null;

-- Opens splits. Nothing is stored for a job that has had one of the model (a repeated call), nor while another job's is open: the second loses, and
-- finds out because traffic_splits has no row of its job.
create function traffic_split_start(
  p_project text[], p_model text[], p_canary int[], p_baseline int[], p_weight float8[], p_job text[], p_workflow text[], p_policy jsonb[],
  p_at bigint[]) returns void
language plpgsql as $$
declare
  started record;
begin
  for started in
    insert into traffic_splits (project, model, canary_version, baseline_version, weight_percent, job_id, workflow_id, policy, started_at_ms)
    select a.project, a.model, a.canary, a.baseline, a.weight, a.job, a.workflow, a.policy, a.at
    from unnest(p_project, p_model, p_canary, p_baseline, p_weight, p_job, p_workflow, p_policy, p_at) with ordinality
      as a(project, model, canary, baseline, weight, job, workflow, policy, at, nth)
    order by a.project collate "C", a.model collate "C", a.nth
    on conflict do nothing
    returning project, model, started_at_ms
  loop
    perform traffic_changed('traffic_splits', started.project, started.model, started.started_at_ms);
  end loop;
end $$;

-- Ends the jobs' open splits; one that ended, or never began, stays as it is.
create function traffic_split_end(p_project text[], p_model text[], p_job text[], p_outcome text[], p_at bigint[]) returns void
language plpgsql set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  ended record;
begin
  for ended in
    update traffic_splits s set ended_at_ms = a.at, outcome = a.outcome
    from unnest(p_project, p_model, p_job, p_outcome, p_at) as a(project, model, job, outcome, at)
    where s.project = a.project and s.model = a.model and s.job_id = a.job and s.ended_at_ms is null
    returning s.project, s.model, s.ended_at_ms
  loop
    perform traffic_changed('traffic_splits', ended.project, ended.model, ended.ended_at_ms);
  end loop;
end $$;

-- The canary watch (drift monitor): what it has seen of each split it watches.
create table canary_watches (
  split_id           bigint primary key references traffic_splits,
  -- lib/statistics/canary.ts: CanaryState, and the moments of both arms since its last look.
  state              jsonb  not null,
  since_look         jsonb  not null default '{}',
  looked_at_ms       bigint not null,
  -- When the verdict was published; null while there is none.
  verdict_sent_at_ms bigint
) with (fillfactor = 50);

-- Observations counted lately, so that one that comes again counts once.
create table canary_seen (
  split_id       bigint not null,
  observation_id text   not null,
  at_ms          bigint not null,
  primary key (split_id, observation_id)
);
create index canary_seen_age on canary_seen (at_ms);
