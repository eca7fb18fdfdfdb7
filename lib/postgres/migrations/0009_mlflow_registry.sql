-- The MLflow adapter of the model registry (lib/model-registry/mlflow-*.ts): what MLflow has no transactions for.
-- Numbers, dedupe keys and stages are decided here, in one transaction; MLflow is brought in line afterwards.
-- `namespace` is the one of MODEL_REGISTRY_URL: another one is another, empty registry.

create table registry_mlflow_models (
  namespace text    not null collate "C",
  project   text    not null collate "C" check (project <> ''),
  name      text    not null collate "C" check (name <> ''),
  -- False from the decision until MLflow shows it: whoever changes the model next completes that first.
  in_line   boolean not null default true,
  primary key (namespace, project, name)
);

create table registry_mlflow_versions (
  namespace      text not null collate "C",
  project        text not null collate "C",
  name           text not null collate "C",
  version        int  not null check (version >= 1),
  source_key     text not null check (source_key <> ''),
  stage          text not null default 'dev' check (stage in ('dev', 'staging', 'prod', 'archived')),
  -- MLflow's own number, which has gaps where versions were deleted; null until the version exists there.
  mlflow_version int,
  -- The stage that MLflow's tag is known to show.
  mlflow_stage   text,
  -- What to create, while it does not exist yet: a call that died is completed by the next one.
  request        jsonb,
  primary key (namespace, project, name, version),
  unique (namespace, project, name, source_key),
  foreign key (namespace, project, name) references registry_mlflow_models,
  check ((mlflow_version is null) = (request is not null)),
  check ((mlflow_version is null) = (mlflow_stage is null))
);

-- MR-5, whatever the code does.
create unique index registry_mlflow_versions_one_prod on registry_mlflow_versions (namespace, project, name) where stage = 'prod';
-- `resolve` by stage: the newest version in it.
create index registry_mlflow_versions_stage on registry_mlflow_versions (namespace, project, name, stage, version desc);

create table registry_mlflow_runs (
  namespace     text not null collate "C",
  project       text not null collate "C" check (project <> ''),
  run_id        text not null collate "C" check (run_id <> ''),
  mlflow_run_id text not null,
  primary key (namespace, project, run_id)
);

-- The right to change one model or run, for a time: held by one caller of all processes. A row is there while it is held.
create table registry_mlflow_leases (
  resource   text        not null collate "C" primary key,
  holder     uuid        not null,
  held_until timestamptz not null
);
