import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import { int4Array, int8Array, textArray } from '#lib/postgres/binary-arrays.ts';
import { type Queryable, sqlState } from '#lib/postgres/database.ts';
import type { TopicSpec } from './port.ts';

const CHECK_VIOLATION = '23514';

/** Partition counts by topic. Read once per topic: a count never changes while the topic lives. */
export class TopicCatalogue {
  readonly #database: Queryable;
  readonly #partitions = new Map<string, number>();

  constructor(database: Queryable) {
    this.#database = database;
  }

  async ensure(topics: readonly TopicSpec[]): Promise<void> {
    try {
      await this.#database.query('select bus_ensure_topics($1, $2, $3)', [
        textArray(topics.map((t) => t.topic)),
        int4Array(topics.map((t) => t.partitions)),
        int8Array(topics.map((t) => t.retentionMs)),
      ]);
    } catch (cause) {
      if (sqlState(cause) !== CHECK_VIOLATION) throw cause;
      throw new TrainyardError('StateConflict', `a topic cannot be had as specified: ${(cause as Error).message}`, {
        cause,
      });
    }
    for (const t of topics) this.#partitions.set(t.topic, t.partitions);
  }

  /**
   * Throws `NotFound` for a topic that nobody created. Afterwards `partitionsOf` knows them all. Inside a transaction pass its client:
   * asking the pool for a second connection while holding one is a deadlock when everybody does.
   */
  async load(topics: Iterable<string>, database: Queryable = this.#database): Promise<void> {
    const missing = [...new Set(topics)].filter((topic) => !this.#partitions.has(topic));
    if (missing.length === 0) return;
    const { rows } = await database.query<{ topic: string; partitions: number }>(
      'select topic, partitions from bus_topics where topic = any($1)',
      [textArray(missing)],
    );
    for (const row of rows) this.#partitions.set(row.topic, row.partitions);
    const unknown = missing.filter((topic) => !this.#partitions.has(topic));
    if (unknown.length > 0)
      throw new TrainyardError('NotFound', `no such topic: ${unknown.join(', ')}`, { details: { topics: unknown } });
  }

  readonly partitionsOf = (topic: string): number => {
    const partitions = this.#partitions.get(topic);
    invariant(partitions !== undefined, `topic ${topic} was not loaded`);
    return partitions;
  };
}
