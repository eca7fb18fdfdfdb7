import type { Queryable } from '#lib/postgres/database.ts';

/** One message to publish. `partition` overrides the key's partition (lane topics address a worker's partition). */
export interface OutgoingMessage {
  readonly topic: string;
  readonly key: string;
  readonly partition?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly value: Uint8Array;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** `offset` counts from 0 per partition; gaps are possible (retention), order is commit order. */
export interface ReceivedMessage extends TopicPartition {
  readonly offset: number;
  readonly key: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly value: Uint8Array;
}

/** "Everything below `nextOffset` of this partition is processed." */
export interface Position extends TopicPartition {
  readonly nextOffset: number;
}

export interface TopicSpec {
  readonly topic: string;
  /** Fixed for the life of the topic: keys would move otherwise. */
  readonly partitions: number;
  /** Messages older than this may be deleted, read or not. */
  readonly retentionMs: number;
}

export interface SubscribeOptions {
  readonly groupId: string;
  readonly topics: readonly string[];
  /** Where a group without a committed position begins. */
  readonly from: 'beginning' | 'end';
  /** A member that did not poll or heart-beat for this long loses its partitions. */
  readonly sessionTimeoutMs?: number;
  /**
   * Names the member over restarts of its process (Kafka's static membership): a new start takes the place of the former one at once
   * instead of waiting for its session to run out. Adapters without it may ignore it; then the session timeout is the wait.
   */
  readonly instanceId?: string;
  /** Awaited inside `poll`, before any message of a newly assigned partition is returned and before a revoked one moves on in this process. */
  readonly onRebalance?: (change: {
    readonly assigned: readonly TopicPartition[];
    readonly revoked: readonly TopicPartition[];
  }) => Promise<void> | void;
}

export interface LagRow extends TopicPartition {
  readonly groupId: string;
  readonly nextOffset: number;
  readonly endOffset: number;
}

/**
 * One member of a consumer group. Not re-entrant: one `poll` at a time.
 *
 * Semantics are Kafka's, and every implementation passes `bus.contract.ts`:
 * - BUS-1 at least once: messages above the committed position come again after a crash, a rebalance or `rewind`.
 * - BUS-2 order per partition, thus per key; nothing is promised across partitions.
 * - BUS-3 each partition of a topic belongs to at most one member of a group at a time, as far as commits go: `commit` for a
 *   partition that moved on throws `PartitionLostError` and stores nothing.
 * - BUS-4 there is no acknowledgement of one message: a commit covers everything below its offset.
 * - BUS-5 co-partitioning: with equal partition counts, partition p of every topic of the subscription goes to the same member.
 * - BUS-6 a member that stops polling and heart-beating loses its partitions after the session timeout; the group goes on.
 */
export interface Subscription {
  /**
   * The next messages of all assigned, unpaused partitions (at most `maxMessages`), in offset order per partition; waits up to
   * `maxWaitMs` when there is none and then returns an empty array. Returned messages are not returned again unless rewound.
   */
  poll(options: { readonly maxMessages: number; readonly maxWaitMs: number }): Promise<ReceivedMessage[]>;
  commit(positions: readonly Position[]): Promise<void>;
  /** Next poll starts again at the committed positions: for a batch that could not be processed. */
  rewind(): Promise<void>;
  assignment(): readonly TopicPartition[];
  /** A paused partition stays assigned but returns no messages. */
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  /** Ends a waiting `poll` at once (it returns what it has), or the next one if none waits. */
  wake(): void;
  /** Leaves the group so that others take over at once. Idempotent. */
  close(): Promise<void>;
}

export interface Bus {
  /** Creates missing topics; another partition count for an existing topic is refused. Idempotent, safe in parallel. */
  ensureTopics(topics: readonly TopicSpec[]): Promise<void>;
  /** Durable when it resolves; order of messages with the same key (or partition) is kept. At most 1 MiB per message. */
  publish(messages: readonly OutgoingMessage[]): Promise<void>;
  subscribe(options: SubscribeOptions): Promise<Subscription>;
  /** Committed position and end per partition of a group. */
  lag(groupId: string): Promise<LagRow[]>;
  /** Throws `ServiceUnavailable` when the bus cannot be reached. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/** A call of an SQL function, to be made part of a statement: `name(parameters)`. */
export interface SqlCall {
  readonly call: string;
  readonly parameters: readonly unknown[];
}

/** Messages and positions as parts of somebody's statement. */
export interface TransactionalParts {
  /** In this order; all of them, or none. */
  readonly calls: readonly SqlCall[];
  /** Tell whether the statement was committed: on a bus outside the database, the messages leave now. */
  settle(committed: boolean): void;
}

/**
 * A bus whose messages can appear if and only if a PostgreSQL transaction commits: the embedded one, whose log lies in the same database,
 * and Kafka behind an outbox table.
 */
export interface TransactionalBus extends Bus {
  /**
   * Messages appear if and only if `tx` commits. Throws what `publish` refuses. With `inOrder` they come after all that transactions committed
   * before, of any process, gave the same topic and key; without it that holds for those of this process. What was given before may appear
   * twice for it.
   */
  publishIn(
    tx: Queryable,
    messages: readonly OutgoingMessage[],
    options?: { readonly inOrder?: boolean },
  ): Promise<void>;
  /**
   * The same inside a statement of the caller's, with the positions of what it processed. `subscription` is one of this bus. A fenced
   * position fails the statement where the bus can know it; elsewhere what was processed may come again.
   */
  partsOf(batch: {
    readonly subscription: Subscription;
    readonly positions: readonly Position[];
    readonly messages: readonly OutgoingMessage[];
  }): Promise<TransactionalParts>;
}

/** `commit` for a partition that belongs to another member now: nothing was stored, the next poll begins at the committed positions. */
export class PartitionLostError extends Error {
  readonly partitions: readonly TopicPartition[];
  constructor(partitions: readonly TopicPartition[]) {
    super(`partitions moved to another member: ${partitions.map((p) => `${p.topic}/${p.partition}`).join(', ')}`);
    this.name = 'PartitionLostError';
    this.partitions = partitions;
  }
}
