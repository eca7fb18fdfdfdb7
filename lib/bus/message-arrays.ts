import { partitionOf } from '#lib/kernel/partition.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { byteaArray, int4Array, int8Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { OutgoingMessage, Position } from './port.ts';

/** Key, headers and value together; Kafka's default for a record batch is the same megabyte. */
const MAX_MESSAGE_BYTES = 1_048_576;

/** The parameters of `bus_publish`, or of any SQL function that hands them on to it. */
export type MessageArrays = readonly [
  topics: Buffer,
  partitions: Buffer,
  keys: Buffer,
  headers: Buffer,
  values: Buffer,
];

/** The last three parameters of `bus_commit`. */
export type PositionArrays = readonly [topics: Buffer, partitions: Buffer, nextOffsets: Buffer];

/** A message that fits the bus: its partition is known, its headers are JSON. */
export interface PreparedMessage {
  readonly topic: string;
  readonly partition: number;
  readonly key: string;
  readonly headers: string;
  readonly value: Uint8Array;
}

/** Throws `MessageTooLarge` or `ValidationFailed` (partition, key) for the first message that the bus cannot take. */
export function prepareMessages(
  messages: readonly OutgoingMessage[],
  partitionsOf: (topic: string) => number,
): PreparedMessage[] {
  return messages.map((message) => {
    const { topic, key, value } = message;
    const prepared = {
      topic,
      partition: partitionFor(message, partitionsOf),
      key,
      headers: JSON.stringify(message.headers),
      value,
    };
    refuseUnfit(prepared);
    return prepared;
  });
}

/**
 * Messages as binary array parameters, sorted by (topic, partition) and otherwise in the given order: `bus_publish` sorts a sorted
 * batch in one pass.
 */
export function encodeMessages(messages: readonly PreparedMessage[]): MessageArrays {
  const rows = [...messages].sort((a, b) =>
    a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
  );
  return [
    textArray(rows.map((row) => row.topic)),
    int4Array(rows.map((row) => row.partition)),
    textArray(rows.map((row) => row.key)),
    textArray(rows.map((row) => row.headers)),
    byteaArray(rows.map((row) => row.value)),
  ];
}

export function encodePositions(positions: readonly Position[]): PositionArrays {
  return [
    textArray(positions.map((p) => p.topic)),
    int4Array(positions.map((p) => p.partition)),
    int8Array(positions.map((p) => p.nextOffset)),
  ];
}

function partitionFor(message: OutgoingMessage, partitionsOf: (topic: string) => number): number {
  const partitions = partitionsOf(message.topic);
  if (message.partition === undefined) return partitionOf(message.key, partitions);
  if (Number.isInteger(message.partition) && message.partition >= 0 && message.partition < partitions)
    return message.partition;
  throw new TrainyardError('ValidationFailed', `topic ${message.topic} has no partition ${message.partition}`, {
    details: { topic: message.topic, partition: message.partition, partitions },
  });
}

function refuseUnfit({ topic, key, headers, value }: PreparedMessage): void {
  const bytes = Buffer.byteLength(key) + Buffer.byteLength(headers) + value.length;
  if (bytes > MAX_MESSAGE_BYTES)
    throw new TrainyardError('MessageTooLarge', `a message for ${topic} has ${bytes} bytes`, {
      details: { topic, key: key.slice(0, 200), bytes, maxBytes: MAX_MESSAGE_BYTES },
    });
  // PostgreSQL's text has no NUL; headers are JSON, where it is escaped.
  if (key.includes('\0')) throw new TrainyardError('ValidationFailed', `a key for ${topic} contains a NUL character`);
}
