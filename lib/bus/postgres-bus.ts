import { invariant } from '#lib/kernel/errors.ts';
import type { Database, Listener, Queryable } from '#lib/postgres/database.ts';
import { asBusFailure } from './bus-failure.ts';
import { encodeMessages, type MessageArrays, type PreparedMessage, prepareMessages } from './message-arrays.ts';
import type { Bus, LagRow, OutgoingMessage, SubscribeOptions, TopicSpec } from './port.ts';
import { PostgresSubscription } from './postgres-subscription.ts';
import { PublishQueue } from './publish-queue.ts';
import { expireMessages } from './retention.ts';
import { TopicCatalogue } from './topic-catalogue.ts';

export interface PostgresBusOptions {
  /** Shared with its owner, who closes it after the bus. One connection is used at a time per publish, poll, commit or heartbeat. */
  readonly database: Database;
  /** Milliseconds between two looks for messages past their retention; default 60,000; 0 leaves that to other processes. */
  readonly retentionIntervalMs?: number;
}

const DEFAULT_RETENTION_INTERVAL_MS = 60_000;
/** Below, a pause of the garbage collector loses partitions; above, a dead member blocks its partitions for too long. */
const MIN_SESSION_TIMEOUT_MS = 300;
const MAX_SESSION_TIMEOUT_MS = 300_000;

/**
 * The bus in PostgreSQL: a partitioned log with consumer groups (0001_bus.sql). Beyond the port, the embedded fast path: `publishIn` and
 * `PostgresSubscription.commitIn` take part in the caller's transaction, `encode` and `fence` feed `bus_publish` and `bus_commit` inside
 * SQL functions of the caller.
 */
export class PostgresBus implements Bus {
  readonly #database: Database;
  readonly #topics: TopicCatalogue;
  readonly #queue: PublishQueue;
  readonly #subscriptions = new Set<PostgresSubscription>();
  readonly #retentionTimer: NodeJS.Timeout | null;
  #listener: Listener | null = null;
  #entrance: Promise<unknown> = Promise.resolve();
  #expiring: Promise<unknown> = Promise.resolve();

  constructor(options: PostgresBusOptions) {
    this.#database = options.database;
    this.#topics = new TopicCatalogue(options.database);
    this.#queue = new PublishQueue((messages) => this.#write(this.#database, messages));
    this.#retentionTimer = this.#startRetention(options.retentionIntervalMs ?? DEFAULT_RETENTION_INTERVAL_MS);
  }

  async ensureTopics(topics: readonly TopicSpec[]): Promise<void> {
    await attempt(() => this.#topics.ensure(topics));
  }

  /**
   * Durable when it resolves. Calls made while another is being written share the next statement, in their order. Throws
   * `MessageTooLarge`, `NotFound` (topic), `ValidationFailed` (partition, key) before anything is written, and `ServiceUnavailable`
   * when the outcome is unknown: publish again, consumers drop what they saw.
   */
  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    if (messages.length === 0) return;
    // In turn: looking up a topic for the first time must not let a later call pass. Refused before the queue, a bad message
    // cannot spoil the statement it would share with others.
    const queued = this.#entrance.then(async () => {
      const prepared = await this.#prepare(messages);
      return { written: this.#queue.add(prepared) };
    });
    this.#entrance = queued.catch(() => undefined);
    await (await queued).written;
  }

  /** The same as part of the caller's transaction: the messages appear if and only if that commits. */
  async publishIn(tx: Queryable, messages: readonly OutgoingMessage[]): Promise<void> {
    if (messages.length > 0) await this.#write(tx, await this.#prepare(messages, tx));
  }

  /** The five parameters of `bus_publish`. Throws what `publish` refuses. */
  async encode(messages: readonly OutgoingMessage[]): Promise<MessageArrays> {
    return encodeMessages(await this.#prepare(messages));
  }

  /** Joins the group at once; partitions arrive with the first `poll`. Throws `NotFound` for a topic that nobody created. */
  async subscribe(options: SubscribeOptions): Promise<PostgresSubscription> {
    const timeoutMs = options.sessionTimeoutMs ?? MIN_SESSION_TIMEOUT_MS;
    invariant(
      timeoutMs >= MIN_SESSION_TIMEOUT_MS && timeoutMs <= MAX_SESSION_TIMEOUT_MS,
      `sessionTimeoutMs is between ${MIN_SESSION_TIMEOUT_MS} and ${MAX_SESSION_TIMEOUT_MS}`,
    );
    invariant(options.topics.length > 0, 'a subscription names at least one topic');
    await attempt(() => this.#topics.load(options.topics));
    this.#listener ??= this.#database.listen(['bus', 'bus_group'], (channel, payload) => this.#wake(channel, payload));
    const subscription = new PostgresSubscription(this.#database, options, (closed) => {
      this.#subscriptions.delete(closed);
    });
    this.#subscriptions.add(subscription);
    try {
      await attempt(() => subscription.join());
    } catch (error) {
      await subscription.close();
      throw error;
    }
    return subscription;
  }

  async lag(groupId: string): Promise<LagRow[]> {
    const { rows } = await attempt(() =>
      this.#database.query<{ topic: string; partition: number; next_offset: number; end_offset: number }>(LAG, [
        groupId,
      ]),
    );
    return rows.map((row) => ({
      groupId,
      topic: row.topic,
      partition: row.partition,
      nextOffset: row.next_offset,
      endOffset: row.end_offset,
    }));
  }

  /** Deletes what is older than its topic's retention and returns how many messages; also called by a timer. */
  async expire(nowMs: number): Promise<number> {
    return attempt(() => expireMessages(this.#database, nowMs));
  }

  async check(): Promise<void> {
    await this.#database.check();
  }

  /** Leaves all groups, writes what was published, and stops. The database stays open. */
  async close(): Promise<void> {
    if (this.#retentionTimer !== null) clearInterval(this.#retentionTimer);
    await this.#listener?.close();
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    await this.#entrance;
    await this.#queue.settled();
    await this.#expiring;
  }

  async #prepare(messages: readonly OutgoingMessage[], database?: Queryable): Promise<PreparedMessage[]> {
    const topics = messages.map((message) => message.topic);
    await attempt(() => this.#topics.load(topics, database));
    return prepareMessages(messages, this.#topics.partitionsOf);
  }

  async #write(target: Queryable, messages: readonly PreparedMessage[]): Promise<void> {
    await attempt(() => target.query(PUBLISH, encodeMessages(messages)));
  }

  #wake(channel: string, payload: string): void {
    for (const subscription of this.#subscriptions)
      if (channel === 'bus_group') subscription.notifyGroup(payload);
      else subscription.notifyTopic(payload);
  }

  #startRetention(intervalMs: number): NodeJS.Timeout | null {
    if (intervalMs === 0) return null;
    let running = false;
    const timer = setInterval(() => {
      if (running) return;
      running = true;
      // What fails now is deleted by the next run; a database that is away shows everywhere else.
      this.#expiring = this.expire(Date.now())
        .catch(() => undefined)
        .finally(() => {
          running = false;
        });
    }, intervalMs);
    return timer.unref();
  }
}

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asBusFailure(error);
  }
}

const PUBLISH = { name: 'bus_publish', text: 'select bus_publish($1, $2, $3, $4, $5)' };

const LAG = {
  name: 'bus_lag',
  text: `select o.topic, o.partition, o.next_offset, h.next_offset as end_offset
from bus_offsets o join bus_heads h on h.topic = o.topic and h.partition = o.partition
where o.group_id = $1 order by o.topic, o.partition`,
};
