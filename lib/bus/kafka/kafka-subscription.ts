import type { EachBatchPayload, KafkaMessage } from 'kafkajs';
import { invariant } from '#lib/kernel/errors.ts';
import { isUnavailable } from '../bus-failure.ts';
import {
  PartitionLostError,
  type Position,
  type ReceivedMessage,
  type SubscribeOptions,
  type Subscription,
  type TopicPartition,
} from '../port.ts';
import { Signal } from '../signal.ts';
import { type ConsumerParts, GroupConsumer } from './group-consumer.ts';
import { type StartOffset, startOffsets } from './group-offsets.ts';
import type { KafkaAdmin } from './kafka-admin.ts';
import { asKafkaFailure, attempt, isStaleMember } from './kafka-failure.ts';
import type { KafkaTopics } from './kafka-topics.ts';
import { PositionCommitter } from './position-committer.ts';
import { ReadPosition } from './read-position.ts';

/** A partition with this many messages waiting is not fetched from until half of them are taken. */
const MAX_BUFFERED = 5_000;
/** How long a fetched batch waits for `poll` to take an assignment over before it is fetched again. */
const ADOPTION_WAIT_MS = 100;
/** Pause after the cluster could not be asked; `poll` is quiet meanwhile. */
const TROUBLE_WAIT_MS = 250;

/** What the group gave to this member. */
interface Assignment {
  readonly memberId: string;
  readonly partitions: ReadonlyMap<string, TopicPartition>;
}

export interface SubscriptionParts extends Pick<ConsumerParts, 'kafka' | 'topics' | 'options' | 'log'> {
  readonly admin: KafkaAdmin;
  readonly onClosed: (self: KafkaSubscription) => void;
}

/**
 * A member of a Kafka consumer group with the bus's `poll`. kafkajs pushes batches and rejoins by itself; here they are buffered, and an
 * assignment takes effect only inside `poll`, after the owner was told. Positions are this class's own: an assignment begins at the
 * committed offsets by an explicit seek, and a batch that would leave a gap is not taken.
 */
export class KafkaSubscription implements Subscription {
  readonly #admin: KafkaAdmin;
  readonly #topics: KafkaTopics;
  readonly #options: SubscribeOptions;
  readonly #consumer: GroupConsumer;
  readonly #onClosed: (self: KafkaSubscription) => void;
  readonly #committer = new PositionCommitter((positions) => this.commit(positions));
  readonly #signal = new Signal();
  /** Of an assignment that was taken over: batches that came early wait for it. */
  readonly #adopted = new Signal();
  readonly #paused = new Set<string>();
  readonly #fetchPaused = new Set<string>();
  readonly #reading = new Map<string, ReadPosition>();
  #memberId = '';
  /** Not yet taken over by `poll`. */
  #given: Assignment | null = null;
  #turn = 0;
  #rewind = false;
  #woken = false;
  #polling = false;
  #closing = false;
  #closed = false;

  constructor({ admin, onClosed, ...parts }: SubscriptionParts) {
    this.#admin = admin;
    this.#topics = parts.topics;
    this.#options = parts.options;
    this.#onClosed = onClosed;
    this.#consumer = new GroupConsumer({
      ...parts,
      onJoin: (memberId, partitions) => this.#joined(memberId, partitions),
      onBatch: (batch) => this.#fetched(batch),
    });
  }

  /** Joins the group; partitions arrive with `poll`. */
  async join(): Promise<void> {
    await attempt(() => this.#consumer.start());
  }

  async poll(options: { readonly maxMessages: number; readonly maxWaitMs: number }): Promise<ReceivedMessage[]> {
    invariant(!this.#polling, 'one poll of a subscription at a time');
    invariant(options.maxMessages >= 1, 'maxMessages is at least 1');
    this.#polling = true;
    try {
      return await this.#pollUntil(options.maxMessages, performance.now() + options.maxWaitMs);
    } finally {
      this.#polling = false;
      this.#woken = false;
    }
  }

  async commit(positions: readonly Position[]): Promise<void> {
    if (positions.length === 0) return;
    const lost = positions.filter((p) => !this.#holds(key(p)));
    if (lost.length > 0) throw this.#partitionLost(lost);
    try {
      await this.#consumer.commit(positions);
    } catch (error) {
      if (isStaleMember(error)) throw this.#partitionLost(positions);
      throw asKafkaFailure(error);
    }
  }

  /**
   * For owners whose transaction holds the truth and who see a message that comes twice: stored within some 50 ms, or later, or, when a
   * partition moves meanwhile, never.
   */
  commitSoon(positions: readonly Position[]): void {
    this.#committer.add(positions);
  }

  async rewind(): Promise<void> {
    this.#rewind = true;
    this.#signal.notify();
  }

  assignment(): readonly TopicPartition[] {
    return [...this.#reading.values()].map(bare);
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const p of partitions) this.#paused.add(key(p));
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const p of partitions) this.#paused.delete(key(p));
    this.#signal.notify();
  }

  wake(): void {
    this.#woken = true;
    this.#signal.notify();
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    await this.#committer.close();
    this.#closed = true;
    this.#reading.clear();
    this.#signal.notify();
    await this.#consumer.close();
    this.#onClosed(this);
  }

  async #pollUntil(maxMessages: number, deadline: number): Promise<ReceivedMessage[]> {
    for (;;) {
      const seen = this.#signal.version;
      const settled = await this.#settle();
      const messages = settled ? this.#take(maxMessages) : [];
      const leftMs = deadline - performance.now();
      if (messages.length > 0 || leftMs <= 0 || this.#woken || this.#closed) return messages;
      await this.#signal.wait(seen, settled ? leftMs : Math.min(leftMs, TROUBLE_WAIT_MS));
    }
  }

  /** Takes over what the group gave and goes back where told. False when the cluster could not be asked: nothing may be returned. */
  async #settle(): Promise<boolean> {
    try {
      while (this.#given !== null && !this.#closed) await this.#takeOver(this.#given);
      if (this.#rewind && !this.#closed) await this.#goBack();
      return true;
    } catch (error) {
      const failure = asKafkaFailure(error);
      if (!isUnavailable(failure)) throw failure;
      return false;
    }
  }

  async #takeOver(given: Assignment): Promise<void> {
    const kept = (k: string): boolean => given.memberId === this.#memberId && given.partitions.has(k);
    const revoked = [...this.#reading].filter(([k]) => !kept(k)).map(([, position]) => bare(position));
    const assigned = [...given.partitions].filter(([k]) => !kept(k) || !this.#reading.has(k)).map(([, p]) => p);
    const starts = await this.#startOffsets(assigned);
    if (revoked.length + assigned.length > 0) await this.#options.onRebalance?.({ assigned, revoked });
    for (const p of revoked) {
      this.#reading.delete(key(p));
      this.#paused.delete(key(p));
    }
    for (const start of starts) this.#reading.set(key(start), new ReadPosition(start, start.offset));
    this.#memberId = given.memberId;
    // Another assignment came meanwhile: it is taken over next, and seeks.
    if (this.#given !== given) return;
    this.#given = null;
    for (const position of this.#reading.values()) this.#fetchFrom(position);
    this.#adopted.notify();
  }

  async #goBack(): Promise<void> {
    for (const start of await this.#startOffsets(this.assignment())) {
      const position = this.#reading.get(key(start));
      if (position === undefined) continue;
      position.moveTo(start.offset);
      this.#fetchFrom(position);
    }
    this.#rewind = false;
  }

  /** Where to begin; a group's first position is committed at once, so that the end it began at is remembered. */
  async #startOffsets(partitions: readonly TopicPartition[]): Promise<StartOffset[]> {
    const starts = await startOffsets(this.#admin, this.#topics, this.#options, partitions);
    const fresh = starts.filter((start) => !start.committed);
    if (fresh.length === 0) return starts;
    try {
      await this.#consumer.commit(fresh.map((start) => ({ ...bare(start), nextOffset: start.offset })));
    } catch (error) {
      // The group is moving on: the next assignment asks again.
      if (!isStaleMember(error)) throw error;
    }
    return starts;
  }

  #fetchFrom(position: ReadPosition): void {
    position.dropFetched();
    this.#resumeFetching(position);
    this.#consumer.seek(position, position.next);
  }

  #take(maxMessages: number): ReceivedMessage[] {
    const active = [...this.#reading.values()].filter((p) => p.buffered > 0 && !this.#paused.has(key(p)));
    if (active.length === 0) return [];
    const turn = this.#turn++ % active.length;
    const inTurn = [...active.slice(turn), ...active.slice(0, turn)];
    // Each gets its share first, so that a large backlog does not keep back the others; what is left over goes in turn.
    const share = Math.ceil(maxMessages / active.length);
    const messages: ReceivedMessage[] = [];
    for (const limit of [share, maxMessages])
      for (const position of inTurn) {
        messages.push(...position.take(Math.min(limit, maxMessages - messages.length)));
        if (position.buffered < MAX_BUFFERED / 2) this.#resumeFetching(position);
      }
    return messages;
  }

  #holds(k: string): boolean {
    if (this.#closed || !this.#reading.has(k)) return false;
    const given = this.#given;
    return given === null || (given.memberId === this.#memberId && given.partitions.has(k));
  }

  #partitionLost(partitions: readonly TopicPartition[]): PartitionLostError {
    // What the refused commit covered in partitions that stay is not stored either: without going back, the next commit would skip it.
    this.#rewind = true;
    return new PartitionLostError(partitions.map(bare));
  }

  #joined(memberId: string, partitions: readonly TopicPartition[]): void {
    // kafkajs begins at the committed offsets again, for partitions that stay too: what was fetched ahead comes again.
    for (const position of this.#reading.values()) position.dropFetched();
    this.#given = { memberId, partitions: new Map(partitions.map((p) => [key(p), p])) };
    this.#signal.notify();
  }

  async #fetched(batch: EachBatchPayload['batch']): Promise<boolean> {
    const topic = this.#topics.fromWire(batch.topic);
    const { partition } = batch;
    if (this.#given !== null) await this.#adopted.wait(this.#adopted.version, ADOPTION_WAIT_MS);
    const position = this.#reading.get(key({ topic, partition }));
    if (this.#given !== null || position === undefined) return false;
    // kafkajs knows the offset that was asked for and does not declare it.
    const from = Number((batch as unknown as { fetchedOffset: string }).fetchedOffset);
    const messages = batch.messages.map((message) => received(topic, partition, message));
    if (!position.accept(from, messages, Number(batch.lastOffset()) + 1)) {
      this.#fetchFrom(position);
      return false;
    }
    if (position.buffered >= MAX_BUFFERED) {
      this.#fetchPaused.add(key(position));
      this.#consumer.pause(position);
    }
    this.#signal.notify();
    return true;
  }

  #resumeFetching(p: TopicPartition): void {
    if (this.#fetchPaused.delete(key(p))) this.#consumer.resume(p);
  }
}

const key = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

const bare = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition });

function received(topic: string, partition: number, message: KafkaMessage): ReceivedMessage {
  const { offset, key: messageKey, headers, value } = message;
  return {
    topic,
    partition,
    offset: Number(offset),
    key: messageKey === null ? null : messageKey.toString(),
    headers: Object.fromEntries(Object.entries(headers ?? {}).map(([name, text]) => [name, headerText(text)])),
    value: value ?? new Uint8Array(),
  };
}

/** A header may come several times; the first counts. */
const headerText = (value: Buffer | string | readonly (Buffer | string)[] | undefined): string =>
  (Array.isArray(value) ? value[0] : value)?.toString() ?? '';
