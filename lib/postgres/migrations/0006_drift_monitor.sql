-- The drift monitor's intake: what models answered in production, as reported by model servers.
create table observations (
  project text not null,
  model text not null,
  model_version int not null,
  -- Dedupe: an observation that is reported twice is stored once.
  observation_id text not null,
  observed_at_ms bigint not null,
  features jsonb not null,
  prediction text not null,
  score double precision,
  label text,
  primary key (project, model, model_version, observation_id)
);
create index observations_by_time on observations (project, model, model_version, observed_at_ms);
