import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KafkaBus } from '#lib/bus/kafka/kafka-bus.ts';
import type { KafkaSettings } from '#lib/bus/kafka/kafka-client.ts';
import type { TopicPolicy } from '#lib/bus/kafka/kafka-topics.ts';
import { kafkaSettings } from '#lib/messaging/kafka-settings.ts';
import { MessagingConfig } from '#lib/messaging/variables.ts';
import { readConfig } from '#lib/service/config.ts';
import { type RunningKafka, startKafka } from '../../scripts/peers/kafka.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { peer } from '../support/peers/peer.ts';

const kafka = await peer('kafka');
const USER = { name: 'trainyard', password: 'correct-horse' };

// A broker of its own: the shared one has no logins, and one given by address may have others.
describe.skipIf(!kafka.available || kafka.rung !== 'local process')('Kafka with TLS and logins', () => {
  let dir: string;
  let broker: RunningKafka;
  let db: TestDatabase;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'trainyard-kafka-'));
    broker = await startKafka({ dir, security: { users: { [USER.name]: USER.password } } });
    db = await createTestDatabase();
  });
  afterAll(async () => {
    await db?.drop();
    await broker?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const secure = (): { address: string; caFile: string } => {
    if (broker.secure === null) throw new Error('a secure listener was asked for');
    return broker.secure;
  };

  /** As a service does it: from its environment. */
  const settingsOf = (variables: Readonly<Record<string, string>>): KafkaSettings & TopicPolicy => {
    const config = readConfig(MessagingConfig, {
      BUS_URL: `kafka://${secure().address}`,
      TOPIC_PREFIX: `secure-${randomUUID()}-`,
      ...variables,
    });
    return kafkaSettings(config, 'security-test');
  };
  const connect = (variables: Readonly<Record<string, string>>): Promise<KafkaBus> =>
    KafkaBus.connect({ ...settingsOf(variables), producer: randomUUID(), database: db.database });
  /** What a start does before it connects: an answer within seconds. */
  const probe = async (variables: Readonly<Record<string, string>>): Promise<void> =>
    KafkaBus.probe(settingsOf(variables));

  const login = (mechanism: string, password: string = USER.password): Record<string, string> => ({
    KAFKA_TLS_CA_FILE: secure().caFile,
    KAFKA_SASL_MECHANISM: mechanism,
    KAFKA_SASL_USERNAME: USER.name,
    KAFKA_SASL_PASSWORD: password,
  });

  it.each(['plain', 'scram-sha-256', 'scram-sha-512'])(
    'publishes and consumes after a login by %s',
    async (mechanism) => {
      const bus = await connect(login(mechanism));
      try {
        await bus.ensureTopics([{ topic: 'secret', partitions: 1, retentionMs: 3_600_000 }]);
        await bus.publish([{ topic: 'secret', key: 'k', headers: { by: mechanism }, value: Buffer.from('said') }]);
        const subscription = await bus.subscribe({ groupId: 'readers', topics: ['secret'], from: 'beginning' });
        const received = [];
        while (received.length === 0) received.push(...(await subscription.poll({ maxMessages: 10, maxWaitMs: 500 })));
        expect(received.map(({ headers, value }) => [headers['by'], Buffer.from(value).toString()])).toEqual([
          [mechanism, 'said'],
        ]);
        await subscription.commit([{ topic: 'secret', partition: 0, nextOffset: 1 }]);
        expect(await bus.lag('readers')).toMatchObject([{ nextOffset: 1, endOffset: 1 }]);
      } finally {
        await bus.close();
      }
    },
  );

  it.each(['plain', 'scram-sha-256', 'scram-sha-512'])(
    'refuses a wrong password by %s and names the variables',
    async (mechanism) => {
      await expect(probe(login(mechanism, 'wrong'))).rejects.toMatchObject({
        code: 'ServiceUnavailable',
        retryable: true,
        message: expect.stringMatching(/KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD/),
      });
    },
  );

  it('says that a login is missing', async () => {
    await expect(probe({ KAFKA_TLS_CA_FILE: secure().caFile })).rejects.toMatchObject({
      code: 'ServiceUnavailable',
      message: expect.stringMatching(/KAFKA_SASL_MECHANISM/),
    });
  });

  it('does not trust a broker whose authority it was not given', async () => {
    const { KAFKA_TLS_CA_FILE: _, ...unknowing } = login('plain');
    await expect(probe({ ...unknowing, KAFKA_TLS: '1' })).rejects.toMatchObject({
      code: 'ServiceUnavailable',
      message: expect.stringMatching(/KAFKA_TLS_CA_FILE.*self-signed/),
    });
  });

  it('says that TLS is missing when it speaks plainly to a port with TLS', async () => {
    const { KAFKA_TLS_CA_FILE: _, ...plainly } = login('plain');
    await expect(probe(plainly)).rejects.toMatchObject({
      code: 'ServiceUnavailable',
      message: expect.stringMatching(/BUS_URL.*KAFKA_TLS/),
    });
  });

  it('says that TLS is too much for a port without it', async () => {
    await expect(probe({ ...login('plain'), BUS_URL: `kafka://${broker.brokers[0] ?? ''}` })).rejects.toMatchObject({
      code: 'ServiceUnavailable',
      message: expect.stringMatching(/BUS_URL.*KAFKA_TLS/),
    });
  });

  it.each([
    ['that does not exist', null],
    ['that holds no certificate', 'nothing of the kind'],
  ])('refuses a file of authorities %s at once', async (_, content) => {
    const file = join(dir, `${randomUUID()}.pem`);
    if (content !== null) await writeFile(file, content);
    await expect(probe({ ...login('plain'), KAFKA_TLS_CA_FILE: file })).rejects.toMatchObject({
      code: 'ValidationFailed',
      message: expect.stringMatching(/KAFKA_TLS_CA_FILE/),
    });
  });
});
