import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { guardKafkajs } from '#lib/bus/kafka/kafkajs-guards.ts';
import { startKafka } from '../../scripts/peers/kafka.ts';
import { eventually } from '../support/eventually.ts';
import { addressOf, peer } from '../support/peers/peer.ts';

guardKafkajs();
const kafka = await peer('kafka');

const clientOf = (brokers: readonly string[]): Kafka =>
  new Kafka({
    brokers: [...brokers],
    clientId: 'peers-test',
    logLevel: logLevel.NOTHING,
    retry: { retries: 20, initialRetryTime: 100, maxRetryTime: 2_000 },
  });

const newName = (): string => `peers-test-${randomBytes(6).toString('hex')}`;

async function createTopic(client: Kafka, topic: string, copies = 1): Promise<void> {
  const admin = client.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: copies }], waitForLeaders: false });
  // Its own wait for leaders gives up when the metadata of a busy broker do not have the topic yet.
  await eventually(async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]?.partitions.every(({ leader }) => leader >= 0) ?? false;
  });
  await admin.disconnect();
}

/** Every value of the topic from its beginning, once `count` different ones were seen. */
async function valuesOf(client: Kafka, topic: string, count: number): Promise<string[]> {
  const consumer = client.consumer({ groupId: newName(), sessionTimeout: 10_000, maxWaitTimeInMs: 100 });
  const values: string[] = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => void values.push(message.value?.toString() ?? ''),
    });
    await eventually(() => new Set(values).size >= count, { withinMs: 60_000 });
  } finally {
    await consumer.disconnect();
  }
  return values;
}

describe.skipIf(!kafka.available)('Kafka', () => {
  it('gives back what was produced, in the order of each key', async () => {
    const client = clientOf(addressOf(kafka).brokers);
    const topic = newName();
    await createTopic(client, topic);
    const producer = client.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    await producer.send({
      topic,
      acks: -1,
      messages: Array.from({ length: 20 }, (_, n) => ({ key: `k${n % 2}`, value: `k${n % 2} ${n}` })),
    });
    await producer.disconnect();
    const values = await valuesOf(client, topic, 20);
    for (const key of ['k0', 'k1']) {
      const numbers = values.filter((value) => value.startsWith(key)).map((value) => Number(value.split(' ')[1]));
      expect(numbers).toEqual(Array.from({ length: 10 }, (_, n) => 2 * n + Number(key.slice(1))));
    }
  });

  it('refuses a topic that nobody created', async () => {
    const producer = new Kafka({
      brokers: [...addressOf(kafka).brokers],
      logLevel: logLevel.NOTHING,
      retry: { retries: 1 },
    }).producer({ allowAutoTopicCreation: false });
    await producer.connect();
    await expect(producer.send({ topic: newName(), messages: [{ value: 'x' }] })).rejects.toMatchObject({
      cause: { type: 'UNKNOWN_TOPIC_OR_PARTITION' },
    });
    await producer.disconnect();
  });
});

// A broker of its own: nobody kills the shared one.
describe.skipIf(!kafka.available || kafka.rung !== 'local process')('a Kafka broker on this machine', () => {
  it('has every acknowledged record after kill -9, on its former port', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'trainyard-kafka-'));
    const own = await startKafka({ dir });
    try {
      const [node] = own.nodes;
      if (node === undefined) throw new Error('no node');
      const client = clientOf(own.brokers);
      const topic = newName();
      await createTopic(client, topic);
      const producer = client.producer({ idempotent: true, maxInFlightRequests: 1 });
      await producer.connect();
      const acknowledged: string[] = [];
      const produce = async (value: string): Promise<void> => {
        await producer.send({ topic, acks: -1, messages: [{ key: value, value }] });
        acknowledged.push(value);
      };
      for (let n = 0; n < 50; n++) await produce(`before ${n}`);
      const { pid, address } = node;
      node.kill('SIGKILL');
      // A send into the gap: it waits in the client's retries and must come through once.
      const inTheGap = produce('during');
      await node.restart();
      expect(node.pid).not.toBe(pid);
      expect(node.address).toBe(address);
      await inTheGap;
      for (let n = 0; n < 10; n++) await produce(`after ${n}`);
      await producer.disconnect();
      expect(acknowledged).toHaveLength(61);
      expect((await valuesOf(client, topic, 61)).sort()).toEqual([...acknowledged].sort());
    } finally {
      await own.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('is one of three that keep serving when one is killed', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'trainyard-kafka-'));
    const cluster = await startKafka({ dir, nodes: 3 });
    try {
      const client = clientOf(cluster.brokers);
      const topic = newName();
      await createTopic(client, topic, 3);
      const producer = client.producer({ idempotent: true, maxInFlightRequests: 1 });
      await producer.connect();
      const produce = (value: string) => producer.send({ topic, acks: -1, messages: [{ key: value, value }] });
      for (let n = 0; n < 10; n++) await produce(`before ${n}`);
      cluster.nodes[1]?.kill('SIGKILL');
      for (let n = 0; n < 10; n++) await produce(`without ${n}`);
      await cluster.nodes[1]?.restart();
      expect(cluster.nodes.every((node) => node.isRunning)).toBe(true);
      await producer.disconnect();
      expect(new Set(await valuesOf(client, topic, 20)).size).toBe(20);
    } finally {
      await cluster.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });
});
