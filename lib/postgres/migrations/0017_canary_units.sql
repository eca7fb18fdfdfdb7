-- Whose answers have counted in the running period of a canary (lib/statistics/canary.ts: CANARY_PERIODS): a user's answers are all in one arm, so that
-- only the first of each user is evidence.
create table canary_units (
  split_id bigint not null,
  unit     text   not null collate "C",
  primary key (split_id, unit)
);
