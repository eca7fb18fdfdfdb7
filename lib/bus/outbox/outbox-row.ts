import type { PreparedMessage } from '../message-arrays.ts';

/** The messages of one transaction, in parallel arrays. */
export interface OutboxRow {
  readonly id: number;
  readonly topics: readonly string[];
  readonly partitions: readonly number[];
  readonly keys: readonly string[];
  readonly headers: readonly string[];
  readonly bodies: readonly Buffer[];
}

export const messagesOf = ({ topics, partitions, keys, headers, bodies }: OutboxRow): PreparedMessage[] =>
  topics.map((topic, i) => ({
    topic,
    partition: partitions[i] ?? 0,
    key: keys[i] ?? '',
    headers: headers[i] ?? '{}',
    value: bodies[i] ?? new Uint8Array(),
  }));
