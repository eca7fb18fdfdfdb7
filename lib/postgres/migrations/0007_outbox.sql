-- Messages for a bus outside the database (Kafka), committed with what they are about and published afterwards.
-- One row for all messages of one transaction: a commit of 300 messages writes one row, and one delete ends it.
create table outbox (
  id bigint generated always as identity primary key,
  -- The process that committed it, and its count: it publishes from memory and deletes the row.
  producer text not null,
  seq bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  topics text[] not null,
  partitions int[] not null,
  keys text[] not null,
  headers text[] not null,
  bodies bytea[] not null,
  unique (producer, seq)
);
create index outbox_created on outbox (created_at);

-- With `announce`, the producer hears of the commit; without, it knows.
create function outbox_append(
  in_producer text, in_seq bigint, announce boolean,
  m_topics text[], m_partitions int[], m_keys text[], m_headers text[], m_bodies bytea[]) returns void
language plpgsql as $$
begin
  insert into outbox (producer, seq, topics, partitions, keys, headers, bodies)
  values (in_producer, in_seq, m_topics, m_partitions, m_keys, m_headers, m_bodies);
  if announce then
    perform pg_notify('outbox', in_producer || ':' || in_seq);
  end if;
end $$;

create function outbox_done(in_producer text, in_seqs bigint[]) returns void
language plpgsql set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
begin
  delete from outbox o using unnest(in_seqs) as d(seq) where o.producer = in_producer and o.seq = d.seq;
end $$;

-- Commands for workers travel at least once outside the database: who runs an attempt is decided here, once.
create table attempt_claims (
  workflow_id text not null,
  activity_id text not null,
  epoch int not null,
  worker_id text not null,
  incarnation text not null,
  claimed_at timestamptz not null default clock_timestamp(),
  primary key (workflow_id, activity_id, epoch)
);
create index attempt_claims_age on attempt_claims (claimed_at);
