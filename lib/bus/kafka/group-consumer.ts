import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import type { Position, SubscribeOptions, TopicPartition } from '../port.ts';
import type { KafkaTopics } from './kafka-topics.ts';
import { numberedAssigner } from './numbered-assigner.ts';

const DEFAULT_SESSION_TIMEOUT_MS = 6_000;
/** Fetches return at once when there is something (minBytes 1); this bounds an empty one, and how soon a resumed partition is asked for. */
const MAX_WAIT_MS = 100;
/** A consumer that neither fetched nor joined for this long is stuck: it is replaced. */
const STUCK_AFTER_MS = 45_000;
const WATCH_EVERY_MS = 5_000;
/** Pause before a consumer that could not go on is replaced. */
const RESTART_MS = 500;

export interface ConsumerParts {
  readonly kafka: Kafka;
  readonly topics: KafkaTopics;
  readonly options: SubscribeOptions;
  readonly log: (level: 'warn' | 'error', message: string, fields: object) => void;
  readonly onJoin: (memberId: string, partitions: readonly TopicPartition[]) => void;
  /** True = taken: fetching goes on behind it. False = it comes again. */
  readonly onBatch: (batch: EachBatchPayload['batch']) => Promise<boolean>;
}

/**
 * One kafkajs consumer, kept alive: kafkajs restarts itself after errors that it calls retriable; after the others, and when it is
 * stuck (no fetch, no join for 45 s), another consumer takes its place. Names of topics and groups are the platform's.
 */
export class GroupConsumer {
  readonly #parts: ConsumerParts;
  readonly #watchdog: NodeJS.Timeout;
  #consumer: Consumer;
  #lastActiveMs = performance.now();
  #restarting: Promise<void> | null = null;
  #closed = false;

  constructor(parts: ConsumerParts) {
    this.#parts = parts;
    this.#consumer = this.#newConsumer();
    this.#watchdog = setInterval(() => this.#watch(), WATCH_EVERY_MS).unref();
  }

  /** Joins the group. */
  async start(): Promise<void> {
    await this.#run(this.#consumer);
  }

  async commit(positions: readonly Position[]): Promise<void> {
    await this.#consumer.commitOffsets(
      positions.map(({ topic, partition, nextOffset }) => ({
        topic: this.#parts.topics.onWire(topic),
        partition,
        offset: String(nextOffset),
      })),
    );
  }

  /** Fetching goes on at this offset; throws while the consumer is being replaced. */
  seek({ topic, partition }: TopicPartition, offset: number): void {
    this.#consumer.seek({ topic: this.#parts.topics.onWire(topic), partition, offset: String(offset) });
  }

  pause({ topic, partition }: TopicPartition): void {
    this.#consumer.pause([{ topic: this.#parts.topics.onWire(topic), partitions: [partition] }]);
  }

  resume({ topic, partition }: TopicPartition): void {
    this.#consumer.resume([{ topic: this.#parts.topics.onWire(topic), partitions: [partition] }]);
  }

  /** Leaves the group, so that others take over at once. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watchdog);
    await this.#restarting;
    await this.#consumer.disconnect().catch(() => undefined);
  }

  #newConsumer(): Consumer {
    const { groupId, instanceId = null, sessionTimeoutMs = DEFAULT_SESSION_TIMEOUT_MS } = this.#parts.options;
    return this.#parts.kafka.consumer({
      groupId: this.#parts.topics.onWire(groupId),
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: Math.max(sessionTimeoutMs, DEFAULT_SESSION_TIMEOUT_MS),
      heartbeatInterval: Math.max(100, Math.min(1_000, Math.floor(sessionTimeoutMs / 6))),
      maxWaitTimeInMs: MAX_WAIT_MS,
      partitionAssigners: [numberedAssigner(instanceId)],
      allowAutoTopicCreation: false,
    });
  }

  async #run(consumer: Consumer): Promise<void> {
    const { topics, options, log, onJoin, onBatch } = this.#parts;
    consumer.on('consumer.group_join', ({ payload: { memberId, memberAssignment } }) => {
      this.#lastActiveMs = performance.now();
      const partitions = Object.entries(memberAssignment).flatMap(([topic, numbers]) =>
        numbers.map((partition) => ({ topic: topics.fromWire(topic), partition })),
      );
      if (consumer === this.#consumer) onJoin(memberId, partitions);
    });
    consumer.on('consumer.fetch', () => {
      this.#lastActiveMs = performance.now();
    });
    consumer.on('consumer.crash', ({ payload: { error, restart } }) => {
      log('error', 'the consumer crashed', { err: error, restart, groupId: options.groupId });
      if (!restart && consumer === this.#consumer) this.#restart();
    });
    await consumer.connect();
    await consumer.subscribe({
      topics: options.topics.map(topics.onWire),
      fromBeginning: options.from === 'beginning',
    });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: async (payload) => {
        this.#lastActiveMs = performance.now();
        const { batch } = payload;
        if (consumer === this.#consumer && (await onBatch(batch))) payload.resolveOffset(batch.lastOffset());
      },
    });
  }

  #watch(): void {
    if (performance.now() - this.#lastActiveMs < STUCK_AFTER_MS) return;
    this.#parts.log('error', 'the consumer is stuck', { groupId: this.#parts.options.groupId });
    this.#restart();
  }

  #restart(): void {
    if (this.#closed || this.#restarting !== null) return;
    this.#lastActiveMs = performance.now();
    const former = this.#consumer;
    this.#consumer = this.#newConsumer();
    this.#restarting = (async () => {
      await former.disconnect().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
      // What fails here is met by the watchdog.
      if (!this.#closed) await this.#run(this.#consumer).catch(() => undefined);
    })().finally(() => {
      this.#restarting = null;
    });
  }
}
