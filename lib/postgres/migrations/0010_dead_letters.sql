-- Dead letters as `trainyard dlq` found them in the topic trainyard.dlq, and what became of each. The topic forgets after its retention and
-- has no state; this table is what an operator works through.
create table dead_letters (
  -- Short, for people to type.
  id bigint generated always as identity primary key,
  -- Header ce_id of the letter: consumer and position, so that a letter that comes twice is one. With the digest of the bytes in it: a cluster
  -- that was made anew gives the same position to another message.
  letter_id text not null,
  value_sha256 bytea not null,
  -- Where the message was going, why it did not, and when the letter was written: to select by.
  topic text not null,
  code text not null,
  at_ms bigint not null,
  -- The whole DeadLetter in Avro single-object encoding, whatever the bus. Once settled, without the sender's credential.
  letter bytea not null,
  state text not null default 'open' check (state in ('open', 'replayed', 'discarded')),
  settled_at timestamptz,
  settled_by text,
  settled_reason text,
  check ((state = 'open') = (settled_at is null)),
  unique (letter_id, value_sha256)
);
create index dead_letters_open on dead_letters (id) where state = 'open';
