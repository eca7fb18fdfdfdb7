import { invariant } from '#lib/kernel/errors.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import { asBusFailure, isUnavailable } from './bus-failure.ts';
import { fetchMessages } from './fetch.ts';
import { type Fence, GroupMember, type Holding, partitionKey } from './group-member.ts';
import { encodePositions } from './message-arrays.ts';
import {
  PartitionLostError,
  type Position,
  type ReceivedMessage,
  type SubscribeOptions,
  type Subscription,
  type TopicPartition,
} from './port.ts';
import { PollPacer } from './poll-pacer.ts';
import { Signal } from './signal.ts';

const DEFAULT_SESSION_TIMEOUT_MS = 6_000;

/** A partition as this process reads it: `nextOffset` is the next to be returned, ahead of the committed one. */
interface ReadPosition extends Position {
  readonly sinceGeneration: number;
}

/** A subscription of `PostgresBus`. Beyond the port: commits inside the caller's transaction. */
export class PostgresSubscription implements Subscription {
  readonly #database: Database;
  readonly #options: SubscribeOptions;
  readonly #member: GroupMember;
  readonly #onClosed: (self: PostgresSubscription) => void;
  readonly #signal = new Signal();
  readonly #pacer = new PollPacer();
  readonly #paused = new Set<string>();
  #memberId = '';
  #generation = 0;
  #reading = new Map<string, ReadPosition>();
  /** The first partition asked for in the next fetch: rotates, so that none starves when more are busy than a batch has places. */
  #turn = 0;
  #stale = true;
  #rewind = false;
  #woken = false;
  #polling = false;
  #closed = false;

  constructor(database: Database, options: SubscribeOptions, onClosed: (self: PostgresSubscription) => void) {
    this.#database = database;
    this.#options = options;
    this.#onClosed = onClosed;
    const member = {
      groupId: options.groupId,
      topics: options.topics,
      fromEnd: options.from === 'end',
      sessionTimeoutMs: options.sessionTimeoutMs ?? DEFAULT_SESSION_TIMEOUT_MS,
      instanceId: options.instanceId ?? null,
    };
    this.#member = new GroupMember(database, member, () => this.#refresh());
  }

  /** Joins the group; its partitions are taken over by the first `poll`. */
  async join(): Promise<void> {
    await this.#member.holding();
  }

  /** Something was published to the topic, or to any topic when it is empty. */
  notifyTopic(topic: string): void {
    if (topic === '' || this.#options.topics.includes(topic)) this.#signal.notify();
  }

  /** The group gave partitions to other members, or any group when it is empty. */
  notifyGroup(groupId: string): void {
    if (groupId === '' || groupId === this.#options.groupId) this.#refresh();
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
    await this.commitIn(this.#database, positions);
  }

  /**
   * The same as part of the caller's transaction: stored if and only if that commits. Throws `PartitionLostError`, after which the
   * transaction can only be rolled back and the next poll begins at the committed positions. When the transaction fails for another
   * reason, call `rewind`. Call it before `publishIn` in the same transaction (lock order, 0001_bus.sql).
   */
  async commitIn(tx: Queryable, positions: readonly Position[]): Promise<void> {
    if (positions.length === 0) return;
    const { groupId, memberId, generation } = this.fence();
    try {
      await tx.query(COMMIT, [groupId, memberId, generation, ...encodePositions(positions)]);
    } catch (cause) {
      const failure = asBusFailure(cause);
      // What the refused commit covered in partitions that stay is not stored either: without going back, the next commit would skip it.
      if (failure instanceof PartitionLostError) await this.rewind();
      throw failure;
    }
  }

  /** The first three parameters of `bus_commit`, for callers that commit inside an SQL function of their own. */
  fence(): Fence {
    return { groupId: this.#options.groupId, memberId: this.#memberId, generation: this.#generation };
  }

  async rewind(): Promise<void> {
    this.#rewind = true;
    this.#refresh();
  }

  assignment(): readonly TopicPartition[] {
    return [...this.#reading.values()].map(({ topic, partition }) => ({ topic, partition }));
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const p of partitions) this.#paused.add(partitionKey(p));
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const p of partitions) this.#paused.delete(partitionKey(p));
    this.#signal.notify();
  }

  /** Also ends the next `poll` when none is waiting: a caller that decides to stop just before it polls is not held up. */
  wake(): void {
    this.#woken = true;
    this.#signal.notify();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#signal.notify();
    await this.#member.leave();
    this.#reading.clear();
    this.#onClosed(this);
  }

  #refresh(): void {
    this.#stale = true;
    this.#signal.notify();
  }

  async #pollUntil(maxMessages: number, deadline: number): Promise<ReceivedMessage[]> {
    for (;;) {
      const seen = this.#signal.version;
      const messages = await this.#tryFetch(maxMessages);
      const leftMs = deadline - performance.now();
      if (messages.length > 0 || leftMs <= 0 || this.#woken || this.#closed) return messages;
      const signalled = await this.#signal.wait(seen, Math.min(leftMs, this.#pacer.pauseMs));
      this.#pacer.waited(signalled);
    }
  }

  /** The database may go and come back while somebody polls: an unreachable bus is a quiet one. */
  async #tryFetch(maxMessages: number): Promise<ReceivedMessage[]> {
    try {
      if (this.#stale && !this.#closed) await this.#takeOver();
      const messages = await this.#fetch(maxMessages);
      this.#pacer.fetched(messages.length);
      return messages;
    } catch (cause) {
      const failure = asBusFailure(cause);
      if (!isUnavailable(failure)) throw failure;
      this.#pacer.failed();
      return [];
    }
  }

  /** Learns what the group gave and took, tells the owner, and only then reads from the new partitions. */
  async #takeOver(): Promise<void> {
    // Before the question: a change that comes while it is answered asks again.
    this.#stale = false;
    try {
      const holding = await this.#member.holding();
      if (holding === null) return;
      const sameMember = holding.memberId === this.#memberId;
      const kept = (p: ReadPosition | undefined, key: string): boolean =>
        sameMember && p?.sinceGeneration === holding.partitions.get(key)?.sinceGeneration;
      const revoked = [...this.#reading].filter(([key, p]) => !kept(p, key)).map(([, p]) => p);
      const assigned = [...holding.partitions].filter(([key]) => !kept(this.#reading.get(key), key)).map(([, p]) => p);
      if (revoked.length + assigned.length > 0)
        await this.#options.onRebalance?.({ assigned: assigned.map(bare), revoked: revoked.map(bare) });
      for (const p of revoked) this.#paused.delete(partitionKey(p));
      this.#adopt(holding, new Set(assigned.map(partitionKey)));
    } catch (error) {
      this.#stale = true;
      throw error;
    }
  }

  #adopt(holding: Holding, assigned: ReadonlySet<string>): void {
    const fromCommitted = this.#rewind;
    this.#rewind = false;
    const reading = new Map<string, ReadPosition>();
    for (const [key, held] of holding.partitions) {
      const before = this.#reading.get(key);
      reading.set(key, fromCommitted || assigned.has(key) || before === undefined ? held : before);
    }
    this.#reading = reading;
    this.#memberId = holding.memberId;
    this.#generation = holding.generation;
  }

  async #fetch(maxMessages: number): Promise<ReceivedMessage[]> {
    const active = [...this.#reading.values()].filter((p) => !this.#paused.has(partitionKey(p)));
    if (active.length === 0 || this.#closed) return [];
    const turn = this.#turn % active.length;
    this.#turn = turn + Math.min(maxMessages, active.length);
    const messages = await fetchMessages(
      this.#database,
      [...active.slice(turn), ...active.slice(0, turn)],
      maxMessages,
    );
    // Paused while the answer was on its way: read again after `resume`.
    const wanted = messages.filter((message) => !this.#paused.has(partitionKey(message)));
    for (const message of wanted) {
      const read = this.#reading.get(partitionKey(message));
      if (read !== undefined) this.#reading.set(partitionKey(message), { ...read, nextOffset: message.offset + 1 });
    }
    return wanted;
  }
}

const bare = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition });

const COMMIT = { name: 'bus_commit', text: 'select bus_commit($1, $2, $3, $4, $5, $6)' };
