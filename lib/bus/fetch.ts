import { int4Array, int8Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { NamedStatement, Queryable } from '#lib/postgres/database.ts';
import type { Position, ReceivedMessage } from './port.ts';

/** Bodies of one batch; a consumer holds a few batches at a time. Exceeded by at most one message per partition. */
const MAX_FETCH_BYTES = 8 * 1_048_576;

/**
 * The next messages from all given positions at once.
 *
 * `busy`: partitions with something new, from the heads alone: an idle fetch reads no message. `shares`: the batch is split so that
 * small backlogs come whole and large ones share the rest evenly: with backlogs ascending, the level is the largest of
 * (room left / partitions left). The innermost query reads one range of the primary key per partition; its running sum needs no
 * sort, because the index delivers the order.
 */
export const FETCH: NamedStatement = {
  name: 'bus_fetch',
  text: `
with busy as (
  select a.i, a.topic, a.partition, greatest(a.next_offset, h.first_offset) as start,
         h.next_offset - greatest(a.next_offset, h.first_offset) as backlog
  from unnest($1::text[], $2::int4[], $3::int8[]) with ordinality a(topic, partition, next_offset, i)
  join bus_heads h on h.topic = a.topic and h.partition = a.partition
  where h.next_offset > greatest(a.next_offset, h.first_offset)
  order by a.i limit $4
), ranked as (
  select b.*, sum(b.backlog) over (order by b.backlog, b.i) - b.backlog as before,
         row_number() over (order by b.backlog, b.i) - 1 as smaller, count(*) over () as partitions
  from busy b
), shares as (
  select r.i, r.topic, r.partition, r.start, r.partitions,
         floor(max(($4 - r.before) / (r.partitions - r.smaller)) over ())::bigint as share
  from ranked r
)
select (s.i - 1)::int4 as i, m."offset", m.key, m.headers, m.value
from shares s cross join lateral (
  select r."offset", r.key, r.headers, r.value
  from (
    select b."offset", b.key, b.headers, b.value,
           sum(octet_length(b.value)) over (order by b."offset" rows unbounded preceding) - octet_length(b.value) as bytes_before
    from (
      select "offset", key, headers, value from bus_messages
      where topic = s.topic and partition = s.partition and "offset" >= s.start
      order by topic, partition, "offset" limit greatest(s.share, 1)
    ) b
  ) r
  where r.bytes_before < $5::bigint / s.partitions
) m`,
};

interface FetchedRow {
  readonly i: number;
  readonly offset: number;
  readonly key: string | null;
  readonly headers: string;
  readonly value: Uint8Array;
}

/** Messages from `positions` on, at most `maxMessages`, in offset order per partition. Earlier positions are served first when there are too many. */
export async function fetchMessages(
  database: Queryable,
  positions: readonly Position[],
  maxMessages: number,
): Promise<ReceivedMessage[]> {
  const { rows } = await database.query<FetchedRow>(FETCH, [
    textArray(positions.map((p) => p.topic)),
    int4Array(positions.map((p) => p.partition)),
    int8Array(positions.map((p) => p.nextOffset)),
    maxMessages,
    MAX_FETCH_BYTES,
  ]);
  return rows.map((row) => ({
    topic: positions[row.i]?.topic ?? '',
    partition: positions[row.i]?.partition ?? 0,
    offset: row.offset,
    key: row.key,
    headers: JSON.parse(row.headers) as Record<string, string>,
    value: row.value,
  }));
}
