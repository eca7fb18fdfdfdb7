-- The orchestrator's tables. Times are epoch milliseconds (bigint) where the engine computes with them.

-- Who may decide for a partition of workflows. A new owner raises the epoch; every commit names the epochs it believes in and is
-- refused (SQLSTATE TY001) when one is stale: a stopped and continued orchestrator can decide nothing.
-- Shard -1 is the dispatcher (queue, placement, workers), held by the owner of partition 0.
create table shards (
  shard int primary key,
  owner text not null,
  epoch bigint not null
) with (fillfactor = 50);

-- The log: the source of truth. A workflow's state is the fold of its rows in seq order.
create table events (
  workflow_id text not null,
  seq int not null,
  type text not null,
  data jsonb not null,
  -- Dedupe: a message that comes twice is one event.
  message_id text not null,
  at_ms bigint not null,
  -- State of the machine after this event, for people and for checks.
  state text not null,
  position bigint generated always as identity (cache 256),
  primary key (workflow_id, seq),
  unique (workflow_id, message_id)
);

-- Projection of the fold, one row per workflow.
create table workflows (
  workflow_id text primary key,
  partition int not null,
  -- Machine version it runs on for life, e.g. fine_tune@1.
  definition text not null,
  job_id text not null,
  project text not null,
  priority int not null,
  submitted_at_ms bigint not null,
  status text not null check (status in ('open', 'done', 'parked')),
  state text not null,
  seq int not null,
  -- True from the first placement on: counts against the project's cap on running workflows.
  running boolean not null,
  -- Execution timeout of the whole workflow.
  deadline_at_ms bigint not null,
  -- Fold up to snapshot_seq, so that a long log is not read whole.
  snapshot jsonb,
  snapshot_seq int not null default 0,
  -- A workflow whose fold throws: facts are still appended, none is folded, until a release that can fold them.
  parked_reason text
) with (fillfactor = 60);
create index workflows_open on workflows (partition) where status = 'open';

-- One row per activity: the ledger's view of its current attempt, and the lease on it (worker_id, incarnation, epoch).
create table activities (
  workflow_id text not null,
  activity_id text not null,
  name text not null,
  lane text not null,
  -- queued (back-off included), placed, running, and at the end done, failed, cancelled
  state text not null,
  epoch int not null,
  failures int not null default 0,
  preemptions int not null default 0,
  not_before_ms bigint not null default 0,
  queued_at_ms bigint not null,
  placed_at_ms bigint,
  started_at_ms bigint,
  ended_at_ms bigint,
  -- Longest run of one attempt.
  start_to_close_ms bigint not null,
  worker_id text,
  incarnation text,
  -- Partition of the lane topic that the chosen worker consumes; written with the placement.
  lane_partition int,
  progress jsonb,
  wait_reason text,
  error jsonb,
  -- Lane time by fate, over all attempts.
  waiting_ms bigint not null default 0,
  useful_ms bigint not null default 0,
  lost_ms bigint not null default 0,
  primary key (workflow_id, activity_id)
) with (fillfactor = 60);

-- Named timers of workflows. Fired rows are deleted by ctid; fire_at_ms is compared with a parameter, never with a volatile function
-- (measured: 8 ms lateness instead of 110 with 100,000 pending).
create table timers (
  workflow_id text not null,
  name text not null,
  partition int not null,
  fire_at_ms bigint not null,
  primary key (workflow_id, name)
);
create index timers_due on timers (fire_at_ms);

create table workers (
  worker_id text primary key,
  incarnation text not null,
  lane text not null,
  slots int not null,
  running int not null,
  partitions int[] not null,
  device jsonb,
  started_at_ms bigint not null,
  last_seen_ms bigint not null
) with (fillfactor = 50);

-- Training curves. A resumed attempt writes the same steps again: the higher epoch wins.
create table job_metrics (
  job_id text not null,
  name text not null,
  step int not null,
  value double precision not null,
  epoch int not null,
  primary key (job_id, name, step)
);
