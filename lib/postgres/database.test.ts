import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

it('a connection that breaks between two statements of a transaction fails the transaction, not the process; the next one serves', async () => {
  const { database } = db;
  const died: unknown[] = [];
  const onDeath = (error: unknown): void => void died.push(error);
  process.on('uncaughtException', onDeath);
  try {
    const work = database.transaction(async (tx) => {
      const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
      const pid = rows[0]?.pid;
      await database.query('select pg_terminate_backend($1)', [pid]);
      // No statement of ours is under way when the news arrives.
      await eventually(async () => {
        const { rowCount } = await database.query('select from pg_stat_activity where pid = $1', [pid]);
        return rowCount === 0;
      });
      await new Promise((resolve) => setImmediate(resolve));
      await tx.query('select 1');
    });
    await expect(work).rejects.toThrow(/terminat|closed|ended|reset|not queryable/i);
    expect(died).toEqual([]);
    expect(await database.transaction((tx) => tx.query('select 1 as one'))).toMatchObject({ rows: [{ one: 1 }] });
  } finally {
    process.off('uncaughtException', onDeath);
  }
});
