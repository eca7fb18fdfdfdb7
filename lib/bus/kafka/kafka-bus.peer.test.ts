import { randomUUID } from 'node:crypto';
import { Database } from '#lib/postgres/database.ts';
import { createTestDatabase } from '../../../test/support/database.ts';
import { busContract } from '../bus.contract.ts';
import { MemberProcess } from '../contract/member-process.ts';
import { KafkaBus } from './kafka-bus.ts';

const url = process.env['TEST_KAFKA_URL'] ?? 'kafka://127.0.0.1:29092';

busContract('KafkaBus', async () => {
  const test = await createTestDatabase();
  const databases: Database[] = [];
  return {
    connect: async () => {
      const database = new Database({ url: test.url, applicationName: 'bus-contract', maxConnections: 2 });
      databases.push(database);
      const producer = randomUUID();
      return KafkaBus.connect({ url, clientId: 'bus-contract', producer, database, prefix: '', replication: null });
    },
    spawnMember: (options) =>
      new MemberProcess(new URL('../contract/kafka-member.ts', import.meta.url), {
        url,
        ...options,
        databaseUrl: test.url,
      }),
    shortSessionMs: 1_500,
    close: async () => {
      await Promise.all(databases.map((database) => database.close()));
      await test.drop();
    },
  };
});
