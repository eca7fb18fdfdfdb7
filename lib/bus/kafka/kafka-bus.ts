import type { Kafka, Producer } from 'kafkajs';
import { invariant } from '#lib/kernel/errors.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import { OrderedPublisher } from '../ordered-publisher.ts';
import { Outbox } from '../outbox/outbox.ts';
import type {
  LagRow,
  OutgoingMessage,
  Position,
  SubscribeOptions,
  Subscription,
  TopicSpec,
  TransactionalBus,
  TransactionalParts,
} from '../port.ts';
import { groupLag } from './group-offsets.ts';
import { KafkaAdmin } from './kafka-admin.ts';
import { kafkaClient, type KafkaSettings, probeKafka } from './kafka-client.ts';
import { attempt } from './kafka-failure.ts';
import { KafkaSubscription } from './kafka-subscription.ts';
import { KafkaTopics, type TopicPolicy } from './kafka-topics.ts';
import { KafkaWriter } from './kafka-writer.ts';

export interface KafkaBusOptions extends KafkaSettings, TopicPolicy {
  /** Holds the outbox, migration 0007. */
  readonly database: Database;
  /** Names this process in the outbox; unique among processes and their restarts. */
  readonly producer: string;
}

/** A broker must answer a health check within this time. */
const CHECK_TIMEOUT_MS = 1_500;

/**
 * The bus on Kafka. Messages that belong to a transaction go through the outbox; positions are committed to the group after the
 * transaction that they are part of, so a crash in between brings messages again and never loses one.
 */
export class KafkaBus implements TransactionalBus {
  readonly #kafka: Kafka;
  readonly #admin: KafkaAdmin;
  readonly #topics: KafkaTopics;
  readonly #writer: KafkaWriter;
  readonly #publisher: OrderedPublisher;
  readonly #outbox: Outbox;
  readonly #subscriptions = new Set<KafkaSubscription>();
  readonly #log: NonNullable<KafkaSettings['log']>;

  private constructor(options: KafkaBusOptions, kafka: Kafka, admin: KafkaAdmin) {
    this.#kafka = kafka;
    this.#admin = admin;
    this.#log = options.log ?? (() => undefined);
    this.#topics = new KafkaTopics(admin, options);
    const newProducer = (): Producer =>
      kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false });
    this.#writer = new KafkaWriter(newProducer, this.#topics.onWire);
    const counts = {
      load: (topics: Iterable<string>) => attempt(() => this.#topics.load(topics)),
      partitionsOf: this.#topics.partitionsOf,
    };
    this.#publisher = new OrderedPublisher(counts, (messages) => attempt(() => this.#writer.write(messages)));
    this.#outbox = new Outbox({
      database: options.database,
      producer: options.producer,
      publish: (messages) => this.#publisher.publishPrepared(messages),
      onTrouble: (error) => this.#log('warn', 'the outbox cannot be emptied yet', { err: error }),
    });
  }

  /** Whether a broker answers to these settings, within seconds where `connect` is patient. Throws what `connect` throws. */
  static async probe(settings: KafkaSettings): Promise<void> {
    await attempt(() => probeKafka(settings));
  }

  /** Connects. Throws `ValidationFailed` for settings that cannot be meant and `ServiceUnavailable` when no broker answers. */
  static async connect(options: KafkaBusOptions): Promise<KafkaBus> {
    const kafka = kafkaClient(options);
    const admin = new KafkaAdmin(kafka.admin());
    await attempt(() => admin.connect());
    return new KafkaBus(options, kafka, admin);
  }

  async ensureTopics(specs: readonly TopicSpec[]): Promise<void> {
    await attempt(() => this.#topics.ensure(specs));
  }

  /** For services, which create nothing: throws `ServiceUnavailable` while one is missing, `StateConflict` for another partition count. */
  async requireTopics(specs: readonly TopicSpec[]): Promise<void> {
    await attempt(() => this.#topics.require(specs));
  }

  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    await this.#publisher.publish(messages);
  }

  async publishIn(
    tx: Queryable,
    messages: readonly OutgoingMessage[],
    { inOrder = false }: { readonly inOrder?: boolean } = {},
  ): Promise<void> {
    const prepared = await this.#publisher.prepare(messages);
    const before = inOrder ? await this.#outbox.waitingElsewhere(tx, prepared) : [];
    await this.#outbox.appendIn(tx, [...before, ...prepared]);
  }

  async partsOf({
    subscription,
    positions,
    messages,
  }: {
    readonly subscription: Subscription;
    readonly positions: readonly Position[];
    readonly messages: readonly OutgoingMessage[];
  }): Promise<TransactionalParts> {
    invariant(subscription instanceof KafkaSubscription, 'a subscription of this bus');
    const parts = this.#outbox.partsOf(await this.#publisher.prepare(messages));
    return {
      calls: parts.calls,
      settle: (committed) => {
        parts.settle(committed);
        if (committed) subscription.commitSoon(positions);
      },
    };
  }

  async subscribe(options: SubscribeOptions): Promise<KafkaSubscription> {
    invariant(options.topics.length > 0, 'a subscription names at least one topic');
    await attempt(() => this.#topics.load(options.topics));
    const subscription = new KafkaSubscription({
      kafka: this.#kafka,
      admin: this.#admin,
      topics: this.#topics,
      options,
      log: this.#log,
      onClosed: (closed) => this.#subscriptions.delete(closed),
    });
    this.#subscriptions.add(subscription);
    try {
      await subscription.join();
    } catch (error) {
      await subscription.close();
      throw error;
    }
    return subscription;
  }

  async lag(groupId: string): Promise<LagRow[]> {
    return attempt(() => groupLag(this.#admin, this.#topics, groupId));
  }

  /** Rows of committed messages that no broker has yet, of all processes on the database. */
  async outboxRows(): Promise<number> {
    return this.#outbox.depth();
  }

  async check(): Promise<void> {
    const late = new Promise<never>((_, reject) => {
      const error = Object.assign(new Error(`no answer within ${CHECK_TIMEOUT_MS} ms`), { name: 'KafkaJSTimeout' });
      setTimeout(() => reject(error), CHECK_TIMEOUT_MS).unref();
    });
    await attempt(() => Promise.race([this.#admin.ping(), late]));
  }

  /** Leaves all groups, publishes what was committed or asked for, and disconnects. */
  async close(): Promise<void> {
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    await this.#outbox.close();
    await this.#publisher.settled();
    await this.#writer.close();
    await this.#admin.close();
  }
}
