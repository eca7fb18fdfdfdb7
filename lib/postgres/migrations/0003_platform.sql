-- What the gateway takes in: projects, keys, datasets, jobs, and the GPU-hour reservations.
-- Writers: the gateway inserts; the orchestrator updates jobs.status/step/result/error/..._at and settles reservations.

create table projects (
  id text primary key,
  display_name text not null default '',
  tier text not null default 'standard',
  -- At most this many workflows of the project run at once (scheduler).
  max_running_workflows int not null default 8 check (max_running_workflows >= 0),
  gpu_seconds_budget double precision not null default 0 check (gpu_seconds_budget >= 0),
  -- Sums over budget_ledger, kept in the same transaction so that a submit reads one row.
  gpu_seconds_reserved double precision not null default 0,
  gpu_seconds_used double precision not null default 0,
  created_at timestamptz not null default now()
);

create table api_keys (
  id text primary key,
  -- Null: a platform admin, who may act in every project.
  project text references projects (id),
  role text not null check (role in ('viewer', 'submitter', 'approver', 'admin')),
  name text not null default '',
  -- SHA-256 of the key; keys carry 256 random bits, so a slow hash adds nothing.
  key_hash bytea not null unique,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

create table datasets (
  project text not null references projects (id),
  name text not null,
  version int not null check (version >= 1),
  format text not null,
  object_key text not null,
  sha256 text not null,
  bytes bigint not null,
  created_at timestamptz not null default now(),
  primary key (project, name, version),
  -- Idempotent by digest: the same bytes are the same version.
  unique (project, name, sha256, format)
);

create table jobs (
  id text primary key,
  project text not null references projects (id),
  type text not null,
  idempotency_key text not null,
  -- SHA-256 of the canonical request body: same key + other body is a conflict.
  request_digest text not null,
  workflow_id text not null unique,
  priority int not null,
  spec jsonb not null,
  labels jsonb not null default '{}',
  description text not null default '',
  status text not null,
  -- Current state of the machine, for people.
  step text,
  result jsonb,
  error jsonb,
  gpu_seconds_estimate double precision not null default 0,
  submitted_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  unique (project, idempotency_key)
);
create index jobs_by_project on jobs (project, submitted_at desc, id desc);

-- Every movement of GPU seconds. kind: reserve (at submission), settle (at the end: frees the reservation, books what was used).
create table budget_ledger (
  id bigint generated always as identity primary key,
  project text not null references projects (id),
  job_id text not null,
  kind text not null check (kind in ('reserve', 'settle')),
  gpu_seconds_reserved double precision not null,
  gpu_seconds_used double precision not null,
  at timestamptz not null default now(),
  unique (job_id, kind)
);
