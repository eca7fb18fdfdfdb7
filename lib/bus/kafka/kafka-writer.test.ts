import type { Producer, ProducerBatch, RecordMetadata } from 'kafkajs';
import { expect, it } from 'vitest';
import type { PreparedMessage } from '../message-arrays.ts';
import { asKafkaFailure } from './kafka-failure.ts';
import { KafkaWriter } from './kafka-writer.ts';

const message = (topic: string, partition: number): PreparedMessage => ({
  topic,
  partition,
  key: 'key',
  headers: '{}',
  value: new Uint8Array([1]),
});

/** A producer that answers for what `answers` lets through, and how many of them were made. */
function writer(answers: (answer: RecordMetadata) => boolean): { writer: KafkaWriter; made: () => number } {
  let made = 0;
  const newProducer = (): Producer => {
    made++;
    return {
      connect: async () => undefined,
      disconnect: async () => undefined,
      sendBatch: async ({ topicMessages = [] }: ProducerBatch) =>
        topicMessages
          .flatMap(({ topic, messages }) =>
            messages.map(({ partition = 0 }): RecordMetadata => ({ topicName: topic, partition, errorCode: 0 })),
          )
          .filter(answers),
    } as unknown as Producer;
  };
  return { writer: new KafkaWriter(newProducer, (topic) => `prefix.${topic}`), made: () => made };
}

it('a batch of which a partition was not acknowledged has failed, although the client says nothing, and the next one has a new producer', async () => {
  let lost = true;
  const { writer: kafka, made } = writer(
    ({ topicName, partition }) => !(lost && topicName === 'prefix.b' && partition === 3),
  );
  const batch = [message('a', 0), message('b', 1), message('b', 3)];
  const failure = await kafka.write(batch).then(
    () => null,
    (error: unknown) => error,
  );
  expect(asKafkaFailure(failure)).toMatchObject({
    code: 'ServiceUnavailable',
    message: expect.stringContaining('prefix.b/3'),
  });
  lost = false;
  await kafka.write(batch);
  expect(made()).toBe(2);
});

it('a batch that is acknowledged whole is written', async () => {
  const { writer: kafka, made } = writer(() => true);
  await kafka.write([message('a', 0), message('a', 0), message('b', 7)]);
  await kafka.write([message('a', 1)]);
  expect(made()).toBe(1);
});
