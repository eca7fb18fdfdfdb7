import { invariant } from '#lib/kernel/errors.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import type { Listener } from '#lib/postgres/listening-connection.ts';
import { asBusFailure } from './bus-failure.ts';
import { encodeMessages, encodePositions, type PreparedMessage, prepareMessages } from './message-arrays.ts';
import { OrderedPublisher } from './ordered-publisher.ts';
import type {
  LagRow,
  OutgoingMessage,
  SubscribeOptions,
  TopicSpec,
  TransactionalBus,
  TransactionalParts,
} from './port.ts';
import { PostgresSubscription } from './postgres-subscription.ts';
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
 * The bus in PostgreSQL: a partitioned log with consumer groups (0001_bus.sql). Its log is its own outbox: messages and positions take part
 * in the caller's transaction (`publishIn`, `PostgresSubscription.commitIn`) or statement (`partsOf`).
 */
export class PostgresBus implements TransactionalBus {
  readonly #database: Database;
  readonly #topics: TopicCatalogue;
  readonly #publisher: OrderedPublisher;
  readonly #subscriptions = new Set<PostgresSubscription>();
  readonly #retentionTimer: NodeJS.Timeout | null;
  #listener: Listener | null = null;
  #expiring: Promise<unknown> = Promise.resolve();

  constructor(options: PostgresBusOptions) {
    this.#database = options.database;
    this.#topics = new TopicCatalogue(options.database);
    const counts = {
      load: (topics: Iterable<string>) => attempt(() => this.#topics.load(topics)),
      partitionsOf: this.#topics.partitionsOf,
    };
    this.#publisher = new OrderedPublisher(counts, (messages) => this.#write(this.#database, messages));
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
    await this.#publisher.publish(messages);
  }

  /** The same as part of the caller's transaction: the messages appear if and only if that commits. */
  async publishIn(tx: Queryable, messages: readonly OutgoingMessage[]): Promise<void> {
    if (messages.length === 0) return;
    // With the transaction's client: asking the pool for a second connection while holding one is a deadlock when everybody does.
    await attempt(() =>
      this.#topics.load(
        messages.map((message) => message.topic),
        tx,
      ),
    );
    await this.#write(tx, prepareMessages(messages, this.#topics.partitionsOf));
  }

  async partsOf({
    subscription,
    positions,
    messages,
  }: Parameters<TransactionalBus['partsOf']>[0]): Promise<TransactionalParts> {
    invariant(subscription instanceof PostgresSubscription, 'a subscription of this bus');
    const { groupId, memberId, generation } = subscription.fence();
    // bus_commit first: the lock order of 0001_bus.sql.
    const commit = { call: 'bus_commit', parameters: [groupId, memberId, generation, ...encodePositions(positions)] };
    const publish = { call: 'bus_publish', parameters: encodeMessages(await this.#publisher.prepare(messages)) };
    return {
      calls: [...(positions.length > 0 ? [commit] : []), ...(messages.length > 0 ? [publish] : [])],
      settle: () => undefined,
    };
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
    await this.#publisher.settled();
    await this.#expiring;
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
