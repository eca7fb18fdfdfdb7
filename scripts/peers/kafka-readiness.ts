import { guardKafkajs } from '#lib/bus/kafka/kafkajs-guards.ts';
import { Kafka, logLevel } from 'kafkajs';

/**
 * True when the broker at `address` serves clients and knows of all these nodes as alive. A broker does not answer before it has read its log and
 * the controller let it in, so an open port alone says nothing.
 */
export async function answersAsCluster(address: string, nodes: readonly number[]): Promise<boolean> {
  guardKafkajs();
  const kafka = new Kafka({
    brokers: [address],
    clientId: 'peers',
    connectionTimeout: 1_000,
    requestTimeout: 2_000,
    retry: { retries: 0 },
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    return nodes.every((node) => brokers.some(({ nodeId }) => nodeId === node));
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}
