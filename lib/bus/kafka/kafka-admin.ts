import type { Admin, ITopicConfig } from 'kafkajs';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { isUnknownTopic } from './kafka-failure.ts';

/** Offset of a partition without a commit, as the protocol says it. */
const NONE = '-1';

/** First offset and the one behind the last, of one partition. */
export interface PartitionEnds {
  readonly low: number;
  readonly high: number;
}

/**
 * What the bus asks a cluster, one question at a time: kafkajs's admin shares its view of topics among its calls, and a call that meets
 * another one's refresh sees a topic without partitions. Names are those on the wire.
 */
export class KafkaAdmin {
  readonly #admin: Admin;
  #last: Promise<unknown> = Promise.resolve();

  constructor(admin: Admin) {
    this.#admin = admin;
  }

  async connect(): Promise<void> {
    await this.#admin.connect();
  }

  async close(): Promise<void> {
    await this.#admin.disconnect().catch(() => undefined);
  }

  /** Any answer of a broker. */
  async ping(): Promise<void> {
    await this.#admin.describeCluster();
  }

  /** Null for a topic that nobody created. */
  partitionCount(topic: string): Promise<number | null> {
    return this.#inTurn(async () => {
      try {
        const { topics } = await this.#admin.fetchTopicMetadata({ topics: [topic] });
        const count = topics[0]?.partitions.length ?? 0;
        return count === 0 ? null : count;
      } catch (error) {
        if (isUnknownTopic(error)) return null;
        throw error;
      }
    });
  }

  /**
   * Topics that are there already are left as they are. The new ones may not be known yet when it returns: kafkajs's own wait for them fails when the
   * broker that it asks has not heard of one, which a busy controller takes a while for.
   */
  async createTopics(topics: ITopicConfig[]): Promise<void> {
    await this.#inTurn(() => this.#admin.createTopics({ topics, waitForLeaders: false }));
  }

  /** By partition, every one of them. Throws `ServiceUnavailable` while a partition has no leader. */
  ends(topic: string): Promise<Map<number, PartitionEnds>> {
    return this.#inTurn(async () => {
      try {
        const rows = await this.#admin.fetchTopicOffsets(topic);
        return new Map(rows.map(({ partition, low, high }) => [partition, { low: Number(low), high: Number(high) }]));
      } catch (error) {
        // kafkajs takes the answer apart without looking when a partition is missing in it.
        if (!(error instanceof TypeError)) throw error;
        throw new TrainyardError('ServiceUnavailable', `Kafka does not know the offsets of ${topic} yet`, {
          cause: error,
        });
      }
    });
  }

  /** Committed offsets of a group by `topic/partition`; partitions without one are left out. `topics` null: wherever the group has one. */
  committed(groupId: string, topics: readonly string[] | null): Promise<Map<string, number>> {
    return this.#inTurn(async () => {
      const answer = await this.#admin.fetchOffsets(topics === null ? { groupId } : { groupId, topics: [...topics] });
      return new Map(
        answer.flatMap(({ topic, partitions }) =>
          partitions
            .filter(({ offset }) => offset !== NONE)
            .map(({ partition, offset }): [string, number] => [`${topic}/${partition}`, Number(offset)]),
        ),
      );
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
