import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { Database } from './database.ts';

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
    await expect(work).rejects.toThrow(/terminat|connection/i);
    expect(died).toEqual([]);
    expect(await database.transaction((tx) => tx.query('select 1 as one'))).toMatchObject({ rows: [{ one: 1 }] });
  } finally {
    process.off('uncaughtException', onDeath);
  }
});

describe('a database that somebody listens to', () => {
  const sessions = async (name: string): Promise<{ pid: number; listens: boolean }[]> => {
    const { rows } = await db.database.query<{ pid: number; listens: boolean }>(
      "select pid, application_name like '%:listen' as listens from pg_stat_activity where application_name like $1 and datname = current_database()",
      [`${name}%`],
    );
    return rows;
  };
  const notify = (payload: string) => db.database.query("select pg_notify('news', $1)", [payload]);

  /** A database of that name, what it has heard, and its end. */
  async function listening(name: string) {
    const database = new Database({ url: db.url, applicationName: name });
    const heard: string[] = [];
    const listener = database.listen(['news'], (_, payload) => void heard.push(payload));
    // The call for what may have been missed: it listens from here on.
    await eventually(() => heard.length === 1);
    const end = async (): Promise<void> => {
      await listener.close();
      await database.close();
    };
    return { database, heard, listener, end };
  }

  it('has one session while it does little, and more when that is not enough or it is busy', async () => {
    const { database, heard, end } = await listening('quiet');
    for (let i = 0; i < 5; i++) await database.query('select 1');
    await database.transaction((tx) => tx.query('select 1'));
    expect(await sessions('quiet')).toEqual([{ pid: expect.any(Number), listens: true }]);
    await Promise.all([1, 2, 3].map(() => database.query('select 1')));
    expect((await sessions('quiet')).length).toBe(1);
    await Promise.all([1, 2, 3].map(() => database.query('select pg_sleep(0.2)')));
    expect((await sessions('quiet')).length).toBe(3);
    for (let i = 0; i < 60; i++) await database.query('select 1');
    const { rows } = await database.query<{ name: string }>("select current_setting('application_name') as name");
    expect(rows).toEqual([{ name: 'quiet' }]);
    await notify('after all');
    await eventually(() => heard.includes('after all'));
    await end();
    await eventually(async () => (await sessions('quiet')).length === 0);
  });

  it('hears at the end of its transaction what was said meanwhile', async () => {
    const { database, heard, end } = await listening('busy');
    await database.transaction(async (tx) => {
      await notify('meanwhile');
      await tx.query('select pg_sleep(0.05)');
      expect(heard).not.toContain('meanwhile');
    });
    await eventually(() => heard.includes('meanwhile'));
    await end();
  });

  it('listens to what was asked for inside a transaction that is rolled back', async () => {
    const { database, end } = await listening('rolled-back');
    const others: string[] = [];
    const rolledBack = database.transaction(async (tx) => {
      database.listen(['others'], (_, payload) => void others.push(payload));
      await tx.query('select 1');
      throw new Error('no');
    });
    await expect(rolledBack).rejects.toThrow('no');
    await eventually(() => others.length === 1);
    await db.database.query("select pg_notify('others', 'hello')");
    await eventually(() => others.includes('hello'));
    await end();
  });

  it('answers the statement that is under way when nobody listens any more', async () => {
    const { database, listener } = await listening('closing');
    const answer = database.query<{ one: number }>('select 1 as one from pg_sleep(0.1)');
    await listener.close();
    expect((await answer).rows).toEqual([{ one: 1 }]);
    expect((await database.query<{ one: number }>('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await database.close();
  });

  it('whose connection breaks goes on without it, and calls back once when it listens again', async () => {
    const { database, heard, end } = await listening('broken');
    const [first] = await sessions('broken');
    await db.database.query('select pg_terminate_backend($1)', [first?.pid]);
    await eventually(() => heard.length === 2);
    expect((await database.query<{ one: number }>('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await notify('again');
    await eventually(() => heard.includes('again'));
    expect(heard).toEqual(['', '', 'again']);
    await end();
  });

  it('says that the server is away, and serves when it is back', async () => {
    const { database, end } = await listening('unlucky');
    const [first] = await sessions('unlucky');
    const failing = database.query('select pg_sleep(5)');
    await db.database.query('select pg_terminate_backend($1)', [first?.pid]);
    await expect(failing).rejects.toThrow(/terminat|connection/i);
    expect((await database.query<{ one: number }>('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await end();
  });
});
