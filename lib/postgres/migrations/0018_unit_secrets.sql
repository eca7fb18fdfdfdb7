-- Each split has a secret of its own (lib/serving/split.ts: unitOf): who does not know it cannot try names until one gives the unit of an observation,
-- and the units of two canaries have nothing in common. 244 random bits.
alter table traffic_splits add column unit_secret text not null
  default replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
