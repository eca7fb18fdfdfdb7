-- Drift: references, watched windows, decisions and retrain policies (docs/decisions/0011).

-- Of every reference and policy, over deletion and re-creation: a monitor knows by it that what it holds in memory is old.
create sequence drift_revisions;

-- What production of a model version is compared with; stored by the gateway.
create table model_references (
  project text not null,
  model text not null,
  version int not null check (version >= 1),
  -- trainyard-reference-profile/1
  profile jsonb not null,
  -- Moments of the scores of its evaluation; null: performance is not watched.
  performance jsonb,
  revision bigint not null default nextval('drift_revisions'),
  updated_at_ms bigint not null,
  primary key (project, model, version)
);

-- When a model is trained again, and as which job; one per model, written by the gateway.
create table retrain_policies (
  project text not null references projects (id),
  model text not null,
  -- lib/contracts/retrain-policy.ts
  policy jsonb not null,
  enabled boolean not null,
  revision bigint not null default nextval('drift_revisions'),
  -- Key id: its jobs are this key's, which therefore cannot approve them.
  updated_by text,
  updated_at_ms bigint not null,
  primary key (project, model)
);

-- The schedule of a policy and where it stands; the drift monitor moves next_fire_at_ms.
create table retrain_schedules (
  project text not null,
  model text not null,
  cron text not null,
  time_zone text not null,
  missed_runs text not null check (missed_runs in ('skip', 'runOnce')),
  -- Null: it never fires again.
  next_fire_at_ms bigint,
  last_fired_at_ms bigint,
  primary key (project, model),
  foreign key (project, model) references retrain_policies on delete cascade
);
create index retrain_schedules_due on retrain_schedules (next_fire_at_ms) where next_fire_at_ms is not null;

-- A watched model version: where its stream stands and the sketches of its open windows. One writer at a time: `revision` guards.
create table drift_windows (
  project text not null,
  model text not null,
  version int not null,
  revision bigint not null,
  -- Watermark, open windows, streak, performance, flood gate, counters.
  state jsonb not null,
  -- Snapshots of the open windows by their begin. Written with every batch and read after a restart only: not jsonb, which would be parsed each time.
  sketches text not null,
  -- What the sketches were made with; others begin new windows.
  reference_revision bigint,
  window_ms bigint not null,
  -- When the clock may close the oldest open window; null: none is open.
  due_at_ms bigint,
  updated_at_ms bigint not null,
  primary key (project, model, version)
);
-- Numbers in text, 100 kB and more: compressing costs more than the disk it saves.
alter table drift_windows alter column sketches set storage external;
create index drift_windows_due on drift_windows (due_at_ms) where due_at_ms is not null;

-- What the decider knows of a model: signals, budget, the running retrain. Locked while it decides.
create table drift_states (
  project text not null,
  model text not null,
  state jsonb not null,
  primary key (project, model)
);

-- Every signal, and every one that was held back, with the reason.
create table drift_signals (
  project text not null,
  signal_id text not null,
  model text not null,
  version int,
  source text not null check (source in ('drift', 'schedule', 'manual')),
  outcome text not null check (outcome in ('requested', 'signalled', 'suppressed')),
  reason text,
  causes jsonb not null,
  evidence jsonb not null,
  window_start_ms bigint,
  window_end_ms bigint,
  -- Counts the signals of the model; null unless signalled.
  number int,
  at_ms bigint not null,
  -- Key id of the person who asked; null for all others.
  requested_by text,
  -- The retrain job, or why there is none: written by the gateway.
  job_id text,
  refusal jsonb,
  -- When the decider was told that the retrain ended.
  ended_at_ms bigint,
  -- Pages: at_ms alone is not unique.
  seq bigint generated always as identity,
  primary key (project, signal_id),
  check ((outcome = 'suppressed') = (reason is not null)),
  check ((outcome = 'signalled') = (number is not null))
);
create unique index drift_signals_by_page on drift_signals (project, seq desc);
create index drift_signals_by_version on drift_signals (project, model, version, window_end_ms desc) where window_end_ms is not null;
create index drift_signals_requested on drift_signals (seq) where outcome = 'requested';
-- Few: one per model at most.
create index drift_signals_open on drift_signals (seq) where outcome = 'signalled' and ended_at_ms is null;
create index drift_signals_suppressed on drift_signals (at_ms) where outcome = 'suppressed';

-- Checked by the monitor and read by nobody in SQL: what jsonb refuses beyond JSON's grammar (1e200000, deep nesting) held the intake up for ever.
alter table observations alter column features type text using features::text;
-- Raw observations are kept for a time only. They come in the order of that time, so a block range index is enough and costs nothing to insert.
alter table observations add column received_at_ms bigint not null default (extract(epoch from now()) * 1000)::bigint;
create index observations_received on observations using brin (received_at_ms) with (pages_per_range = 32, autosummarize = on);
drop index observations_by_time;
