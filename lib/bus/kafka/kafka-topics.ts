import type { ITopicConfig } from 'kafkajs';
import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import type { TopicSpec } from '../port.ts';
import type { KafkaAdmin } from './kafka-admin.ts';

/** A batch holds one message of the largest size with room to spare. */
const MAX_BATCH_BYTES = 2 * 1_048_576;

/** New topics are known to every broker after this, at most; asked again until then. */
const METADATA_TRIES = 100;
const METADATA_WAIT_MS = 100;

export interface TopicPolicy {
  /** Put before every name on the wire: several platforms can share a cluster. */
  readonly prefix: string;
  /** Copies of each partition; null = the cluster's default. */
  readonly replication: number | null;
}

/** Topics of the platform on a cluster: their names there, and their partition counts. */
export class KafkaTopics {
  readonly #admin: KafkaAdmin;
  readonly #policy: TopicPolicy;
  readonly #partitions = new Map<string, number>();

  constructor(admin: KafkaAdmin, policy: TopicPolicy) {
    this.#admin = admin;
    this.#policy = policy;
  }

  /** Name of a topic, or of a group, on the cluster. */
  readonly onWire = (name: string): string => this.#policy.prefix + name;

  readonly fromWire = (topic: string): string => topic.slice(this.#policy.prefix.length);

  get prefix(): string {
    return this.#policy.prefix;
  }

  /** Creates what is missing; another partition count is a `StateConflict`: keys would move. Idempotent, safe in parallel. */
  async ensure(specs: readonly TopicSpec[]): Promise<void> {
    const known = await this.#read(specs.map((spec) => spec.topic));
    const missing = specs.filter((spec) => !known.has(spec.topic));
    if (missing.length > 0) await this.#admin.createTopics(missing.map((spec) => this.#config(spec)));
    // Another process may have been faster, and the new ones are not known everywhere at once.
    for (let tries = 0; ; tries++) {
      const now = await this.#read(specs.map((spec) => spec.topic));
      if (specs.every((spec) => now.has(spec.topic))) return this.#compare(specs, now);
      if (tries === METADATA_TRIES)
        throw new TrainyardError('ServiceUnavailable', 'Kafka does not show the topics that were created');
      await new Promise((resolve) => setTimeout(resolve, METADATA_WAIT_MS));
    }
  }

  /** For services, which create nothing: `ServiceUnavailable` while a topic is missing, `StateConflict` for another partition count. */
  async require(specs: readonly TopicSpec[]): Promise<void> {
    const known = await this.#read(specs.map((spec) => spec.topic));
    const missing = specs.filter((spec) => !known.has(spec.topic)).map((spec) => this.onWire(spec.topic));
    if (missing.length > 0)
      throw new TrainyardError(
        'ServiceUnavailable',
        `Kafka (BUS_URL) does not have ${missing.join(', ')}: run the migration step (npm run migrate)`,
        { details: { missing } },
      );
    this.#compare(specs, known);
  }

  /** Throws `NotFound` for a topic that nobody created. Afterwards `partitionsOf` knows them all. */
  async load(topics: Iterable<string>): Promise<void> {
    const missing = [...new Set(topics)].filter((topic) => !this.#partitions.has(topic));
    if (missing.length === 0) return;
    for (const [topic, partitions] of await this.#read(missing)) this.#partitions.set(topic, partitions);
    const unknown = missing.filter((topic) => !this.#partitions.has(topic));
    if (unknown.length > 0)
      throw new TrainyardError('NotFound', `no such topic: ${unknown.join(', ')}`, { details: { topics: unknown } });
  }

  readonly partitionsOf = (topic: string): number => {
    const partitions = this.#partitions.get(topic);
    invariant(partitions !== undefined, `topic ${topic} was not loaded`);
    return partitions;
  };

  /** Partition counts of those that exist. */
  async #read(topics: readonly string[]): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    for (const topic of topics) {
      const partitions = await this.#admin.partitionCount(this.onWire(topic));
      if (partitions !== null) found.set(topic, partitions);
    }
    return found;
  }

  #compare(specs: readonly TopicSpec[], actual: ReadonlyMap<string, number>): void {
    for (const { topic, partitions } of specs) {
      const has = actual.get(topic);
      if (has !== partitions)
        throw new TrainyardError(
          'StateConflict',
          `a topic cannot be had as specified: ${this.onWire(topic)} has ${has} partitions, not ${partitions}`,
        );
      this.#partitions.set(topic, partitions);
    }
  }

  #config({ topic, partitions, retentionMs }: TopicSpec): ITopicConfig {
    return {
      topic: this.onWire(topic),
      numPartitions: partitions,
      replicationFactor: this.#policy.replication ?? -1,
      configEntries: [
        { name: 'retention.ms', value: String(retentionMs) },
        { name: 'max.message.bytes', value: String(MAX_BATCH_BYTES) },
      ],
    };
  }
}
