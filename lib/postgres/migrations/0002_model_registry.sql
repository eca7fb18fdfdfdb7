-- The built-in model registry (lib/model-registry): models, versions, runs, metrics. Names sort by code point.

create table registry_models (
  project      text        not null collate "C" check (project <> ''),
  name         text        not null collate "C" check (name <> ''),
  -- The row is locked while a version is added or staged: that is what keeps numbers without gaps and one prod per model.
  last_version int         not null default 0 check (last_version >= 0),
  created_at   timestamptz not null default now(),
  primary key (project, name)
);

create table registry_versions (
  project      text        not null collate "C",
  name         text        not null collate "C",
  version      int         not null check (version >= 1),
  source_key   text        not null check (source_key <> ''),
  stage        text        not null default 'dev' check (stage in ('dev', 'staging', 'prod', 'archived')),
  manifest_key text        not null check (manifest_key <> ''),
  -- Lineage: no member is ever null or empty.
  job_id                   text not null check (btrim(job_id) <> ''),
  run_id                   text not null check (btrim(run_id) <> ''),
  dataset_name             text not null check (btrim(dataset_name) <> ''),
  dataset_version          text not null check (btrim(dataset_version) <> ''),
  dataset_digest           text not null check (btrim(dataset_digest) <> ''),
  config_digest            text not null check (btrim(config_digest) <> ''),
  code_commit              text not null check (btrim(code_commit) <> ''),
  base_model_digest        text not null check (btrim(base_model_digest) <> ''),
  evaluation_report_digest text not null check (btrim(evaluation_report_digest) <> ''),
  manifest_digest          text not null check (btrim(manifest_digest) <> ''),
  tags         jsonb       not null default '{}' check (jsonb_typeof(tags) = 'object'),
  created_at   timestamptz not null default now(),
  primary key (project, name, version),
  unique (project, name, source_key),
  foreign key (project, name) references registry_models
);

-- MR-5, whatever the code does.
create unique index registry_versions_one_prod on registry_versions (project, name) where stage = 'prod';
-- `resolve` by stage: the newest version in it.
create index registry_versions_stage on registry_versions (project, name, stage, version desc);

create table registry_runs (
  project       text        not null collate "C" check (project <> ''),
  run_id        text        not null collate "C" check (run_id <> ''),
  job_id        text        not null check (job_id <> ''),
  params        jsonb       not null check (jsonb_typeof(params) = 'object'),
  tags          jsonb       not null check (jsonb_typeof(tags) = 'object'),
  artifact_uris text[]      not null,
  created_at    timestamptz not null default now(),
  primary key (project, run_id)
);

create table registry_metrics (
  project text   not null collate "C",
  run_id  text   not null collate "C",
  name    text   not null collate "C" check (name <> ''),
  step    bigint not null check (step >= 0),
  value   float8 not null check (value > '-Infinity' and value < 'Infinity'),
  primary key (project, run_id, name, step),
  foreign key (project, run_id) references registry_runs
);
