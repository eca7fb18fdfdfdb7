import { Database } from '#lib/postgres/database.ts';
import { createTestDatabase } from '../../test/support/database.ts';
import { busContract } from './bus.contract.ts';
import { MemberProcess } from './contract/member-process.ts';
import { PostgresBus } from './postgres-bus.ts';

busContract('PostgresBus', async () => {
  const test = await createTestDatabase();
  const databases: Database[] = [];
  return {
    connect: async () => {
      const database = new Database({ url: test.url, applicationName: 'bus-contract', maxConnections: 2 });
      databases.push(database);
      return new PostgresBus({ database });
    },
    spawnMember: (options) =>
      new MemberProcess(new URL('./contract/postgres-member.ts', import.meta.url), { url: test.url, ...options }),
    shortSessionMs: 700,
    close: async () => {
      await Promise.all(databases.map((database) => database.close()));
      await test.drop();
    },
  };
});
