import kafkajs, { type Message, type Producer, type RecordMetadata } from 'kafkajs';
import type { PreparedMessage } from '../message-arrays.ts';

/** kafkajs makes one record batch of all messages for a partition; a broker takes 2 MiB of it (kafka-topics.ts). */
const MAX_PARTITION_BYTES = 900 * 1_024;
/** Below, compressing costs more than it saves: a command of 500 bytes leaves in one packet. */
const COMPRESS_FROM_BYTES = 4_096;
/** Per record: offsets, lengths, timestamp. */
const RECORD_OVERHEAD = 64;

/**
 * An idempotent producer with one request under way. After an error its sequence numbers may be unknown to the broker, so another one
 * takes its place; what was on its way may then come twice.
 */
export class KafkaWriter {
  readonly #newProducer: () => Producer;
  readonly #onWire: (topic: string) => string;
  #producer: Promise<Producer> | null = null;

  constructor(newProducer: () => Producer, onWire: (topic: string) => string) {
    this.#newProducer = newProducer;
    this.#onWire = onWire;
  }

  /** Acknowledged by all in-sync copies when it resolves. Not re-entrant. */
  async write(messages: readonly PreparedMessage[]): Promise<void> {
    for (const chunk of chunksOf(messages)) await this.#send(chunk);
  }

  async close(): Promise<void> {
    const producer = await this.#producer?.catch(() => null);
    this.#producer = null;
    await producer?.disconnect().catch(() => undefined);
  }

  async #send(messages: readonly PreparedMessage[]): Promise<void> {
    const bytes = messages.reduce((sum, message) => sum + message.value.length, 0);
    const compression = bytes < COMPRESS_FROM_BYTES ? kafkajs.CompressionTypes.None : kafkajs.CompressionTypes.ZSTD;
    const byTopic = Map.groupBy(messages, (message) => message.topic);
    try {
      const producer = await (this.#producer ??= this.#connect());
      const answers = await producer.sendBatch({
        acks: -1,
        compression,
        topicMessages: [...byTopic].map(([topic, own]) => ({ topic: this.#onWire(topic), messages: own.map(record) })),
      });
      this.#requireAll(messages, answers);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /**
   * kafkajs resolves although a partition was never sent: when its leader moves, in the middle of a batch, to a broker that has answered for other
   * partitions already, the repetition leaves that broker out with all that is for it.
   */
  #requireAll(messages: readonly PreparedMessage[], answers: readonly RecordMetadata[]): void {
    const answered = new Set(answers.map(({ topicName, partition }) => `${topicName}/${partition}`));
    const sent = new Set(messages.map(({ topic, partition }) => `${this.#onWire(topic)}/${partition}`));
    const silent = [...sent].filter((each) => !answered.has(each));
    if (silent.length > 0) throw new kafkajs.KafkaJSError(`no broker has acknowledged ${silent.join(', ')}`);
  }

  async #connect(): Promise<Producer> {
    const producer = this.#newProducer();
    await producer.connect();
    return producer;
  }
}

const record = ({ key, partition, headers, value }: PreparedMessage): Message => ({
  key,
  partition,
  headers: JSON.parse(headers) as Record<string, string>,
  value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
});

/** In order, none with more bytes for one partition than a record batch may have (a single larger message is alone). */
function* chunksOf(messages: readonly PreparedMessage[]): Iterable<readonly PreparedMessage[]> {
  let chunk: PreparedMessage[] = [];
  let bytes = new Map<string, number>();
  for (const message of messages) {
    const partition = `${message.topic}/${message.partition}`;
    const size = message.value.length + message.key.length + message.headers.length + RECORD_OVERHEAD;
    const before = bytes.get(partition) ?? 0;
    if (before > 0 && before + size > MAX_PARTITION_BYTES) {
      yield chunk;
      chunk = [];
      bytes = new Map();
    }
    chunk.push(message);
    bytes.set(partition, (bytes.get(partition) ?? 0) + size);
  }
  if (chunk.length > 0) yield chunk;
}
