-- The embedded bus: a partitioned log with consumer groups, semantics of Kafka (lib/bus/port.ts, BUS-1 to BUS-6).
--
-- Lock order of everything below: bus_groups row -> bus_offsets rows -> bus_heads rows, each kind in the order of its key.
-- A caller that commits positions and publishes in one transaction must therefore call bus_commit before bus_publish.

create table bus_topics (
  topic text collate "C" primary key,
  partitions int not null check (partitions between 1 and 1024),
  retention_ms bigint not null check (retention_ms > 0)
);

-- The end of each partition. A producer holds the row until its transaction ends, so offset order is commit order and a reader
-- never sees a gap that is filled later. Half-filled pages keep every update HOT: no index write, dead rows pruned on access.
create table bus_heads (
  topic text collate "C",
  partition int,
  next_offset bigint not null default 0,
  first_offset bigint not null default 0,
  primary key (topic, partition)
) with (fillfactor = 50);

-- 8-byte columns first: no padding inside the row.
create table bus_messages (
  "offset" bigint not null,
  appended_at_ms bigint not null,
  partition int not null,
  topic text collate "C" not null,
  key text collate "C",
  headers text collate "C" not null,
  value bytea not null,
  primary key (topic, partition, "offset")
) with (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05);
-- Bodies are Avro, which pglz hardly shrinks: without EXTERNAL it burns CPU on every body above 2 kB. Up to 8 kB stays in the row.
alter table bus_messages alter column value set storage external, alter column headers set storage external;

create table bus_groups (
  group_id text collate "C" primary key,
  -- Grows with every change of membership.
  generation bigint not null default 0
) with (fillfactor = 50);

create table bus_members (
  group_id text collate "C" references bus_groups,
  member_id text collate "C",
  topics text[] not null,
  from_end boolean not null,
  session_timeout_ms bigint not null,
  expires_at_ms bigint not null,
  joined_generation bigint not null,
  -- Names the process over restarts (Kafka: group.instance.id): its next start replaces this member without waiting for the session.
  instance_id text,
  primary key (group_id, member_id)
) with (fillfactor = 50);

-- Committed position and owner in one row: a commit is one update that checks its fence on the row it writes, so it needs no other
-- lock against a rebalance. `since_generation` is the generation at which the owner received the partition.
create table bus_offsets (
  group_id text collate "C",
  topic text collate "C",
  partition int,
  next_offset bigint not null,
  member_id text collate "C",
  since_generation bigint not null default 0,
  primary key (group_id, topic, partition)
) with (fillfactor = 50);

-- The database's clock, so that processes need not agree on the time.
create function bus_now_ms() returns bigint language sql volatile
  return (extract(epoch from clock_timestamp()) * 1000)::bigint;

-- Creates what is missing and adopts a changed retention. Raises 23514 when a topic exists with another partition count.
create function bus_ensure_topics(in_topics text[], in_partitions int[], in_retention_ms bigint[]) returns void
language plpgsql as $$
declare
  wrong text;
begin
  insert into bus_topics (topic, partitions, retention_ms)
  select * from unnest(in_topics, in_partitions, in_retention_ms) u(topic, partitions, retention_ms) order by u.topic
  on conflict (topic) do update set retention_ms = excluded.retention_ms
    where bus_topics.partitions = excluded.partitions and bus_topics.retention_ms <> excluded.retention_ms;
  select string_agg(format('%s has %s partitions, not %s', t.topic, t.partitions, u.partitions), '; ') into wrong
  from unnest(in_topics, in_partitions) u(topic, partitions) join bus_topics t on t.topic = u.topic
  where t.partitions <> u.partitions;
  if wrong is not null then
    raise exception using errcode = '23514', message = wrong;
  end if;
  insert into bus_heads (topic, partition)
  select u.topic, p from unnest(in_topics, in_partitions) u(topic, partitions), generate_series(0, u.partitions - 1) p
  order by 1, 2
  on conflict do nothing;
end $$;

-- Appends messages in the caller's transaction: array order within a partition is offset order. Wakes listeners at commit.
-- Raises 23503 for a topic or partition that does not exist. Arrays sorted by (topic, partition) are cheapest: the sort below is
-- then one pass. No sequential scans: after ANALYZE the planner prefers them for two pages of heads, but a long transaction elsewhere
-- (a backup) keeps every dead version of a head, and then only the index finds the live one quickly. Offsets come from an array by rank instead of from a join: a generic plan expects 10 elements of an array
-- parameter and would choose a nested loop, 16,000 comparisons for 1,000 messages on 16 partitions.
create function bus_publish(in_topics text[], in_partitions int[], in_keys text[], in_headers text[], in_values bytea[])
returns void language plpgsql set enable_seqscan = off as $$
declare
  ends bigint[];
  counts bigint[];
  touched text[];
  wanted int;
  last bigint;
begin
  if cardinality(in_topics) = 0 then
    return;
  end if;
  -- A single message, the latency path: the general statements below cost twice the CPU just to start.
  if cardinality(in_topics) = 1 then
    update bus_heads set next_offset = next_offset + 1 where topic = in_topics[1] and partition = in_partitions[1]
    returning next_offset - 1 into last;
    if last is null then
      raise exception using errcode = '23503', message = 'a message is addressed to a topic or partition that does not exist';
    end if;
    insert into bus_messages ("offset", appended_at_ms, partition, topic, key, headers, value)
    values (last, bus_now_ms(), in_partitions[1], in_topics[1], in_keys[1], in_headers[1], in_values[1]);
    perform pg_notify('bus', in_topics[1]);
    return;
  end if;
  -- 1. Lock and move the heads, in the order of their key, so that two producers cannot wait for each other.
  with batch as (
    select u.topic collate "C" as topic, u.partition, count(*) as size
    from unnest(in_topics, in_partitions) u(topic, partition) group by 1, 2
  ), locked as (
    select h.topic, h.partition, b.size from batch b join bus_heads h on h.topic = b.topic and h.partition = b.partition
    order by h.topic, h.partition for no key update of h
  ), moved as (
    update bus_heads h set next_offset = h.next_offset + l.size from locked l
    where h.topic = l.topic and h.partition = l.partition
    returning h.topic, h.partition, h.next_offset, l.size
  )
  select array_agg(m.next_offset order by m.topic, m.partition), array_agg(m.size order by m.topic, m.partition),
         array_agg(distinct m.topic), (select count(*) from batch)
  into ends, counts, touched, wanted from moved m;
  if cardinality(ends) is distinct from wanted then
    raise exception using errcode = '23503', message = 'a message is addressed to a topic or partition that does not exist';
  end if;
  -- 2. Append. The clock is read after the locks, so time grows with the offset and retention may delete a prefix.
  insert into bus_messages ("offset", appended_at_ms, partition, topic, key, headers, value)
  select ends[r.head] - counts[r.head] + r.place - 1, r.at_ms, r.partition, r.topic, r.key, r.headers, r.value
  from (
    select u.*, dense_rank() over (order by u.topic collate "C", u.partition) as head,
           row_number() over (partition by u.topic collate "C", u.partition order by u.i) as place,
           (select bus_now_ms()) as at_ms
    from unnest(in_topics, in_partitions, in_keys, in_headers, in_values) with ordinality
      u(topic, partition, key, headers, value, i)
  ) r;
  -- 3. One notification per topic, sent by PostgreSQL when the transaction commits.
  perform pg_notify('bus', t) from unnest(touched) t;
end $$;

-- Stores positions in the caller's transaction; a position never moves backwards. Raises TY001, naming the partitions in DETAIL as a
-- JSON array of [topic, partition], when the member does not hold one of them: since a generation it has seen, without a break.
create function bus_commit(
  in_group text, in_member text, in_generation bigint, in_topics text[], in_partitions int[], in_next_offsets bigint[]
) returns void language plpgsql set enable_seqscan = off as $$
declare
  lost text;
begin
  with wanted as (
    select u.topic collate "C" as topic, u.partition, max(u.next_offset) as next_offset
    from unnest(in_topics, in_partitions, in_next_offsets) u(topic, partition, next_offset) group by 1, 2
  ), held as (
    -- Waits for a rebalance that has the row and then sees its new owner: the row drops out here.
    select o.topic, o.partition, w.next_offset from wanted w
    join bus_offsets o on o.group_id = in_group and o.topic = w.topic and o.partition = w.partition
    where o.member_id = in_member and o.since_generation <= in_generation
    order by o.topic, o.partition for no key update of o
  ), stored as (
    update bus_offsets o set next_offset = h.next_offset from held h
    where o.group_id = in_group and o.topic = h.topic and o.partition = h.partition and o.next_offset < h.next_offset
  )
  select json_agg(json_build_array(w.topic, w.partition)) into lost
  from wanted w left join held h on h.topic = w.topic and h.partition = w.partition where h.topic is null;
  if lost is not null then
    raise exception using errcode = 'TY001', message = 'partitions moved to another member', detail = lost;
  end if;
end $$;

-- Gives every partition of the group to one live member. The caller holds the group's row. Sticky: a member keeps what it has up to its
-- quota. A partition number goes to one member for all topics (BUS-5); where that member has not subscribed to the topic, the number picks among
-- those that have.
create function bus_rebalance(in_group text) returns bigint language plpgsql as $$
declare
  new_generation bigint;
begin
  delete from bus_members where group_id = in_group and expires_at_ms < bus_now_ms();
  update bus_groups set generation = generation + 1 where group_id = in_group returning generation into new_generation;
  -- 1. A topic new to the group begins where its longest-standing subscriber asked. Stored at once: a crash before the first commit loses nothing.
  insert into bus_offsets (group_id, topic, partition, next_offset)
  select in_group, h.topic, h.partition, case when s.from_end then h.next_offset else h.first_offset end
  from (
    select distinct on (t.topic) t.topic, m.from_end
    from bus_members m, unnest(m.topics) t(topic) where m.group_id = in_group
    order by t.topic, m.joined_generation
  ) s join bus_heads h on h.topic = s.topic collate "C"
  on conflict do nothing;
  -- 2. Commits in flight end first; later ones see the new owners.
  perform 1 from bus_offsets where group_id = in_group order by topic, partition for no key update;
  -- 3. Numbers to members, then partitions to members.
  with members as (
    select member_id, topics, joined_generation from bus_members where group_id = in_group
  ), numbers as (
    select o.partition as number, min(m.member_id) as keeper
    from bus_offsets o left join members m on m.member_id = o.member_id
    where o.group_id = in_group and exists (select from members s where o.topic = any (s.topics))
    group by 1
  ), quotas as (
    select m.member_id, m.joined_generation, count(n.number) as has,
           (select count(*) from numbers) / count(*) over ()
           + (row_number() over (order by count(n.number) desc, m.joined_generation)
              <= (select count(*) from numbers) % count(*) over ())::int as quota
    from members m left join numbers n on n.keeper = m.member_id
    group by m.member_id, m.joined_generation
  ), ranked as (
    select n.number, n.keeper, q.quota, row_number() over (partition by n.keeper order by n.number) as rank
    from numbers n left join quotas q on q.member_id = n.keeper
  ), vacant as (
    select number, row_number() over (order by number) as turn from ranked where keeper is null or rank > quota
  ), seats as (
    select q.member_id, row_number() over (order by seat, q.joined_generation) as turn
    from quotas q, generate_series(q.has + 1, q.quota) seat
  ), owners as (
    select number, keeper as member_id from ranked where rank <= quota and keeper is not null
    union all
    select v.number, s.member_id from vacant v join seats s on s.turn = v.turn
  ), decided as (
    select o.topic, o.partition, coalesce(
      (select m.member_id from members m where m.member_id = w.member_id and o.topic = any (m.topics)),
      (select c.member_id from (
         select m.member_id, row_number() over (order by m.joined_generation) - 1 as place, count(*) over () as size
         from members m where o.topic = any (m.topics)) c
       where c.place = o.partition % c.size)) as member_id
    from bus_offsets o left join owners w on w.number = o.partition
    where o.group_id = in_group
  )
  update bus_offsets o set member_id = d.member_id, since_generation = new_generation
  from decided d
  where o.group_id = in_group and o.topic = d.topic and o.partition = d.partition and o.member_id is distinct from d.member_id;
  perform pg_notify('bus_group', in_group);
  return new_generation;
end $$;

-- Adds a member and rebalances. Ids are never used twice: a member that was expelled joins again under a new one.
-- `in_instance`, when given, takes the place of the member of that name.
create function bus_join(
  in_group text, in_member text, in_topics text[], in_from_end boolean, in_session_timeout_ms bigint, in_instance text default null
) returns bigint language plpgsql as $$
begin
  insert into bus_groups (group_id) values (in_group) on conflict do nothing;
  perform 1 from bus_groups where group_id = in_group for update;
  delete from bus_members where group_id = in_group and instance_id = in_instance;
  insert into bus_members (group_id, member_id, topics, from_end, session_timeout_ms, expires_at_ms, joined_generation, instance_id)
  select in_group, in_member, in_topics, in_from_end, in_session_timeout_ms, bus_now_ms() + in_session_timeout_ms, g.generation + 1, in_instance
  from bus_groups g where group_id = in_group;
  return bus_rebalance(in_group);
end $$;

-- Extends the member's session and expels others whose session ran out. Returns the group's generation, or null when the member is unknown
-- (it was expelled). A member that is late itself expels nobody: after an outage of the database everybody is late.
create function bus_heartbeat(in_group text, in_member text) returns bigint language plpgsql as $$
declare
  now_ms bigint := bus_now_ms();
begin
  if exists (select from bus_members where group_id = in_group and member_id = in_member and expires_at_ms >= now_ms)
     and exists (select from bus_members where group_id = in_group and expires_at_ms < now_ms) then
    perform 1 from bus_groups where group_id = in_group for update;
    -- The lock may have taken long, or another member was faster.
    update bus_members set expires_at_ms = bus_now_ms() + session_timeout_ms where group_id = in_group and member_id = in_member;
    if exists (select from bus_members where group_id = in_group and expires_at_ms < now_ms) then
      perform bus_rebalance(in_group);
    end if;
  end if;
  update bus_members set expires_at_ms = now_ms + session_timeout_ms where group_id = in_group and member_id = in_member;
  if not found then
    return null;
  end if;
  return (select generation from bus_groups where group_id = in_group);
end $$;

create function bus_leave(in_group text, in_member text) returns void language plpgsql as $$
begin
  perform 1 from bus_groups where group_id = in_group for update;
  delete from bus_members where group_id = in_group and member_id = in_member;
  if found then
    perform bus_rebalance(in_group);
  end if;
end $$;

-- Deletes at most `in_limit` messages from the front of one partition that were appended before `in_before_ms`, always a prefix.
-- Returns how many, or -1 when another process is deleting now. The head's row is locked only at the very end of the transaction.
create function bus_expire(in_topic text, in_partition int, in_before_ms bigint, in_limit int) returns int
language plpgsql as $$
declare
  first bigint;
  stop bigint;
  deleted int;
begin
  if not pg_try_advisory_xact_lock(7461746122) then
    return -1;
  end if;
  -- Nothing is lost when this is undone by a crash: the next run deletes again. So do not wait for the disk with the head locked.
  set local synchronous_commit = off;
  select first_offset, least(next_offset, first_offset + in_limit) into first, stop
  from bus_heads where topic = in_topic and partition = in_partition;
  select coalesce(min("offset"), stop) into stop from bus_messages
  where topic = in_topic and partition = in_partition and "offset" >= first and "offset" < stop and appended_at_ms >= in_before_ms;
  delete from bus_messages where topic = in_topic and partition = in_partition and "offset" >= first and "offset" < stop;
  get diagnostics deleted = row_count;
  update bus_heads set first_offset = stop where topic = in_topic and partition = in_partition and first_offset < stop;
  return deleted;
end $$;
