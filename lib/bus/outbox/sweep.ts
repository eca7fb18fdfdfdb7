import { int8Array } from '#lib/postgres/binary-arrays.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { PreparedMessage } from '../message-arrays.ts';
import { messagesOf, type OutboxRow } from './outbox-row.ts';

/** Rows of one sweep at most: each holds the messages of a whole batch. */
const MAX_ROWS = 20;

/**
 * Publishes rows that are older than the grace, in the order they were written, and deletes them. Processes that sweep at once take
 * different rows. `except`: rows of this process that it is about to publish itself. Returns how many rows it took.
 */
export async function sweep(options: {
  readonly database: Database;
  readonly publish: (messages: readonly PreparedMessage[]) => Promise<void>;
  readonly graceMs: number;
  readonly except: { readonly producer: string; readonly seqs: readonly number[] };
}): Promise<number> {
  const { database, publish, graceMs, except } = options;
  return database.transaction(async (tx) => {
    const { rows } = await tx.query<OutboxRow>(OVERDUE, [graceMs, except.producer, int8Array(except.seqs), MAX_ROWS]);
    if (rows.length === 0) return 0;
    await publish(rows.flatMap(messagesOf));
    await tx.query('delete from outbox where id = any ($1)', [int8Array(rows.map((row) => row.id))]);
    return rows.length;
  });
}

const OVERDUE = {
  name: 'outbox_overdue',
  text: `select id, topics, partitions, keys, headers, bodies from outbox
    where created_at < clock_timestamp() - make_interval(secs => $1 / 1000.0) and not (producer = $2 and seq = any ($3))
    order by id limit $4 for update skip locked`,
};
