import type { OutgoingMessage, ReceivedMessage } from '#lib/bus/port.ts';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { messageOf } from '#lib/kernel/errors.ts';
import { type Codec, UnknownFingerprint } from './codec.ts';
import type { DeadLetter, MessageTypes } from './generated/messages.ts';
import { type MessageType, TOPICS, type TopicName } from './topics.ts';

/** What travels around a payload; headers follow CloudEvents' Kafka binary binding. */
interface Envelope {
  /** Dedupe id, everywhere: the same id is the same message. */
  readonly id: string;
  /** The service that wrote it, e.g. `/trainyard/gateway`. */
  readonly source: string;
  /** Epoch milliseconds. */
  readonly timeMs: number;
  /** W3C trace context, when there is one. */
  readonly traceparent?: string;
}

/** A decoded message: `type` discriminates `payload`. */
export type Message = {
  [T in MessageType]: Envelope & { readonly type: T; readonly key: string; readonly payload: MessageTypes[T] };
}[MessageType];

/** At most this many bytes of payload, on every bus: larger data belongs into the object store. */
const MAX_MESSAGE_BYTES = 1_048_576;

export interface Addressed<T extends MessageType> {
  readonly topic: TopicName;
  readonly key: string;
  readonly partition?: number;
  readonly type: T;
  readonly payload: MessageTypes[T];
  readonly envelope: Envelope;
}

/** Bytes and headers for the bus. Throws when the topic does not carry the type (a bug). */
export function encodeMessage<T extends MessageType>(codec: Codec, message: Addressed<T>): OutgoingMessage {
  const { topic, key, partition, type, payload, envelope } = message;
  if (!(TOPICS[topic].messages as readonly MessageType[]).includes(type))
    throw new Error(`${topic} does not carry ${type}`);
  const headers: Record<string, string> = {
    ce_specversion: '1.0',
    ce_id: envelope.id,
    ce_type: type,
    ce_source: envelope.source,
    ce_subject: key,
    ce_time: new Date(envelope.timeMs).toISOString(),
  };
  if (envelope.traceparent !== undefined) headers['traceparent'] = envelope.traceparent;
  const value = codec.encode(type, payload);
  return partition === undefined ? { topic, key, headers, value } : { topic, key, partition, headers, value };
}

export type Decoded =
  | { readonly ok: true; readonly message: Message }
  | { readonly ok: false; readonly code: ErrorCode; readonly reason: string };

/** Never throws: what cannot be read is a refusal, for the dead-letter topic. */
export function decodeMessage(codec: Codec, received: ReceivedMessage): Decoded {
  const id = received.headers['ce_id'];
  const declared = received.headers['ce_type'];
  if (id === undefined || id === '') return refuse('MissingHeader', 'header ce_id is missing');
  if (declared === undefined) return refuse('MissingHeader', 'header ce_type is missing');
  if (received.key === null) return refuse('MissingHeader', 'the message has no key');
  if (received.value.byteLength > MAX_MESSAGE_BYTES)
    return refuse('MessageTooLarge', `${received.value.byteLength} bytes, at most ${MAX_MESSAGE_BYTES}`);
  if (!carries(received.topic, declared))
    return refuse('UnknownSchema', `${received.topic} does not carry ${declared}`);
  try {
    const { type, payload } = codec.decode(received.value);
    if (type !== declared) return refuse('UndecodableMessage', `header says ${declared}, the bytes are ${type}`);
    const traceparent = received.headers['traceparent'];
    const envelope = {
      id,
      source: received.headers['ce_source'] ?? '',
      timeMs: Date.parse(received.headers['ce_time'] ?? '') || 0,
      ...(traceparent === undefined ? {} : { traceparent }),
    };
    return { ok: true, message: { ...envelope, type, key: received.key, payload } as Message };
  } catch (error) {
    if (error instanceof UnknownFingerprint) return refuse('UnknownSchema', error.message);
    return refuse('UndecodableMessage', messageOf(error));
  }
}

/** Topic names come from outside: `constructor` is none of ours. */
const carries = (topic: string, type: string): boolean =>
  Object.hasOwn(TOPICS, topic) && (TOPICS[topic as TopicName].messages as readonly string[]).includes(type);

const refuse = (code: ErrorCode, reason: string): Decoded => ({ ok: false, code, reason });

/** The dead letter for a message that `consumer` could not process; its id names the position, so that a retry is the same letter. */
export function deadLetter(
  codec: Codec,
  received: ReceivedMessage,
  refusal: { code: ErrorCode; reason: string },
  consumer: string,
  atMs: number,
): OutgoingMessage {
  const position = `${received.topic}/${received.partition}/${received.offset}`;
  const headers = headersThatFit(received.headers);
  const room = roomBeside(headers);
  return encodeMessage(codec, {
    topic: 'trainyard.dlq',
    key: position,
    type: 'DeadLetter',
    payload: {
      topic: received.topic,
      partition: received.partition,
      offset: received.offset,
      key: received.key,
      headers,
      value: Buffer.from(received.value).subarray(0, room),
      code: refusal.code,
      reason: refusal.reason.slice(0, MAX_REASON_CHARACTERS),
      consumer,
      atMs,
    },
    envelope: { id: `dlq:${consumer}:${position}`, source: `/trainyard/${consumer}`, timeMs: atMs },
  });
}

/** Whether the letter holds all bytes of its message; a longer one was cut. One of exactly the room's size may have been: no. */
export const isWhole = ({ headers, value }: Pick<DeadLetter, 'headers' | 'value'>): boolean =>
  value.byteLength < roomBeside(headers);

const roomBeside = (headers: Readonly<Record<string, string>>): number =>
  MAX_DEAD_LETTER_BYTES - Buffer.byteLength(JSON.stringify(headers));

/** Room for the letter's other fields below the message limit: a letter that the bus refused would stop its consumer for good. */
const MAX_DEAD_LETTER_BYTES = MAX_MESSAGE_BYTES - 65_536;

/** Decoders quote what they could not read; this much of it says enough. */
const MAX_REASON_CHARACTERS = 4_096;

/** Headers of a letter at most; ours have less than a tenth of it. */
const MAX_HEADER_BYTES = 131_072;

/** The first headers, as many as fit. */
function headersThatFit(headers: Readonly<Record<string, string>>): Record<string, string> {
  let bytes = 0;
  return Object.fromEntries(
    Object.entries(headers).filter(([name, value]) => {
      bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
      return bytes <= MAX_HEADER_BYTES;
    }),
  );
}
