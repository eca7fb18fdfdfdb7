import { randomUUID } from 'node:crypto';
import { kafkaClient } from '#lib/bus/kafka/kafka-client.ts';
import type { LagRow, OutgoingMessage } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { type Codec, singleObjectCodec } from '#lib/contracts/codec.ts';
import { TOPICS } from '#lib/contracts/topics.ts';
import { registryCodec } from '#lib/messaging/registry-codec.ts';
import type { Site } from './site.ts';

/** A message as it lies on the bus. */
export interface LyingMessage {
  readonly topic: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly value: Uint8Array;
}

/** The bus as another system sees it: to put records on it, and to look at what lies there. Takes no part in the platform's own work. */
export interface BusDoor {
  readonly codec: Codec;
  publish(message: OutgoingMessage): Promise<void>;
  /** Everything that lies on the topics now, once; order only within a partition. */
  read(topics: readonly string[], onMessage: (message: LyingMessage) => void): Promise<void>;
  /** Partitions in which the group has not processed everything, as `topic/partition: from end`. */
  lagging(groupId: string): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** A read that makes no headway for this long will not end. */
const READ_WITHIN_MS = 60_000;

export const openBusDoor = (site: Site): Promise<BusDoor> =>
  site.ports['BUS_URL'] === undefined ? embeddedDoor(site) : kafkaDoor(site, site.ports['BUS_URL']);

async function embeddedDoor({ database }: Site): Promise<BusDoor> {
  const bus = new PostgresBus({ database });
  return {
    codec: singleObjectCodec(),
    publish: (message) => bus.publish([message]),
    read: async (topics, onMessage) => {
      const { rows } = await database.query<{ topic: string; key: string; headers: string; value: Buffer }>(
        'select topic, key, headers, value from bus_messages where topic = any ($1) order by topic, partition, "offset"',
        [topics],
      );
      for (const { topic, key, headers, value } of rows)
        onMessage({ topic, key, headers: JSON.parse(headers) as Record<string, string>, value });
    },
    lagging: async (groupId) => lagging(await bus.lag(groupId)),
    close: () => bus.close(),
  };
}

async function kafkaDoor(site: Site, url: string): Promise<BusDoor> {
  const kafka = kafkaClient({ url, clientId: 'chaos' });
  // Not idempotent: several send at once here, which kafkajs's idempotent producer loses messages over (#1005). What is sent twice has one id.
  const producer = kafka.producer();
  const admin = kafka.admin();
  await Promise.all([producer.connect(), admin.connect()]);
  const ends = async (topic: string): Promise<{ partition: number; low: number; high: number }[]> =>
    (await admin.fetchTopicOffsets(topic)).map(({ partition, low, high }) => ({
      partition,
      low: Number(low),
      high: Number(high),
    }));
  return {
    codec: await registryCodec({ url: site.ports['SCHEMA_REGISTRY_URL'] ?? '' }),
    publish: async ({ topic, key, headers, value }) => {
      await producer.send({ topic, acks: -1, messages: [{ key, headers: { ...headers }, value: Buffer.from(value) }] });
    },
    read: async (topics, onMessage) => {
      // 1. Where each partition ends now.
      const open = new Map<string, number>();
      for (const topic of topics)
        for (const { partition, low, high } of await ends(topic))
          if (high > low) open.set(`${topic}/${partition}`, high);
      if (open.size === 0) return;
      // 2. A group of our own reads up to there.
      const consumer = kafka.consumer({ groupId: `chaos-${randomUUID()}` });
      await consumer.connect();
      try {
        await consumer.subscribe({ topics: [...topics], fromBeginning: true });
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        const late = setTimeout(() => reject(new Error('the bus could not be read to its end')), READ_WITHIN_MS);
        await consumer.run({
          autoCommit: false,
          eachMessage: async ({ topic, partition, message }) => {
            const end = open.get(`${topic}/${partition}`);
            if (end === undefined) return;
            onMessage({
              topic,
              key: message.key?.toString() ?? '',
              headers: Object.fromEntries(Object.entries(message.headers ?? {}).map(([name, v]) => [name, String(v)])),
              value: message.value ?? Buffer.alloc(0),
            });
            if (Number(message.offset) + 1 >= end) open.delete(`${topic}/${partition}`);
            if (open.size === 0) resolve();
          },
        });
        await promise.finally(() => clearTimeout(late));
      } finally {
        await consumer.disconnect();
      }
    },
    lagging: async (groupId) => {
      const committed = await admin.fetchOffsets({ groupId });
      const rows: Pick<LagRow, 'topic' | 'partition' | 'nextOffset' | 'endOffset'>[] = [];
      for (const { topic, partitions } of committed)
        for (const { partition, high, low } of await ends(topic)) {
          const offset = Number(partitions.find((each) => each.partition === partition)?.offset ?? -1);
          rows.push({ topic, partition, nextOffset: offset < 0 ? low : offset, endOffset: high });
        }
      return lagging(rows);
    },
    close: async () => {
      await Promise.allSettled([producer.disconnect(), admin.disconnect()]);
    },
  };
}

const lagging = (rows: readonly Pick<LagRow, 'topic' | 'partition' | 'nextOffset' | 'endOffset'>[]): string[] =>
  rows
    .filter(({ nextOffset, endOffset }) => nextOffset < endOffset)
    .map(({ topic, partition, nextOffset, endOffset }) => `${topic}/${partition}: ${nextOffset} of ${endOffset}`);

/** All topics but the announcements of workers, which repeat themselves for ever. */
export const READ_TOPICS = Object.keys(TOPICS).filter((topic) => topic !== 'workers.events');
