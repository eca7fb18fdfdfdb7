-- Each open split has a secret of its own (lib/serving/split.ts: unitOf): who does not know it cannot try names until one gives the unit of an
-- observation, and the units of two canaries have nothing in common. 244 random bits, forgotten when the split ends.
alter table traffic_splits add column unit_secret text;
update traffic_splits set unit_secret = replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') where ended_at_ms is null;
alter table traffic_splits add check ((unit_secret is null) = (ended_at_ms is not null));

create function traffic_split_secret() returns trigger
language plpgsql as $$
begin
  new.unit_secret := case when new.ended_at_ms is null
    then coalesce(new.unit_secret, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')) end;
  return new;
end $$;
create trigger traffic_split_secret before insert or update of ended_at_ms on traffic_splits for each row execute function traffic_split_secret();
