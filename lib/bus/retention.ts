import type { Queryable } from '#lib/postgres/database.ts';

/** One statement deletes at most this many messages: a few milliseconds, so neither vacuum nor a checkpoint waits for it. */
const CHUNK_MESSAGES = 1_000;
/** A run ends after this many chunks; the next one goes on. */
const MAX_CHUNKS = 1_000;

/**
 * Deletes messages that are older than their topic's retention at `nowMs` (epoch milliseconds), front first, and returns how many.
 * Any number of processes may call it: one deletes at a time, the others return at once.
 */
export async function expireMessages(database: Queryable, nowMs: number): Promise<number> {
  const { rows } = await database.query<{ topic: string; partition: number; before_ms: number }>(EXPIRED, [nowMs]);
  let total = 0;
  let chunks = 0;
  for (const row of rows) {
    for (let full = true; full && chunks < MAX_CHUNKS; chunks++) {
      const { rows: result } = await database.query<{ deleted: number }>(
        'select bus_expire($1, $2, $3, $4) as deleted',
        [row.topic, row.partition, row.before_ms, CHUNK_MESSAGES],
      );
      const deleted = result[0]?.deleted ?? -1;
      if (deleted === -1) return total;
      total += deleted;
      full = deleted === CHUNK_MESSAGES;
    }
  }
  return total;
}

/** Looks at the oldest message of each partition only. */
const EXPIRED = {
  name: 'bus_expired',
  text: `select h.topic, h.partition, $1::bigint - t.retention_ms as before_ms
from bus_topics t join bus_heads h on h.topic = t.topic
cross join lateral (
  select m.appended_at_ms from bus_messages m
  where m.topic = h.topic and m.partition = h.partition and m."offset" >= h.first_offset
  order by m.topic, m.partition, m."offset" limit 1
) oldest
where h.first_offset < h.next_offset and oldest.appended_at_ms < $1::bigint - t.retention_ms`,
};
