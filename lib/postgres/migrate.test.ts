import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { Database } from './database.ts';
import { migrate } from './migrate.ts';

const FIRST = 'create table first (id int primary key); insert into first values (1);';
const SECOND = 'create table second (id int primary key);';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

describe('a migration', () => {
  let folder: string;
  let database: Database;
  const write = (name: string, sql: string): Promise<void> => writeFile(join(folder, name), sql);
  const versions = async (): Promise<number[]> => {
    const { rows } = await database.query<{ version: number }>('select version from schema_migrations order by 1');
    return rows.map(({ version }) => version);
  };

  // A schema of its own stands for an empty database.
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trainyard-migrations-'));
    await db.database.query('drop schema if exists empty cascade');
    await db.database.query('create schema empty');
    database = new Database({ url: inSchema(db.url), applicationName: 'test', maxConnections: 5 });
    await write('0001_first.sql', FIRST);
  });
  afterEach(async () => {
    await database.close();
    await rm(folder, { recursive: true });
  });

  it('is applied once, whoever of five processes that start together comes first', async () => {
    await write('0002_second.sql', SECOND);
    const results = await Promise.all(Array.from({ length: 5 }, () => migrate(database, folder)));
    expect(results.flatMap(({ applied }) => applied)).toEqual(['0001_first.sql', '0002_second.sql']);
    expect(results.map(({ version }) => version)).toEqual([2, 2, 2, 2, 2]);
    expect(await versions()).toEqual([1, 2]);
  });

  it('that this release does not know makes it refuse the database: it is newer than the code', async () => {
    await write('0002_second.sql', SECOND);
    await migrate(database, folder);
    await rm(join(folder, '0002_second.sql'));
    await expect(migrate(database, folder)).rejects.toThrow(/0002_second.sql.*is newer than the code/);
  });

  it('that was changed after it was applied is refused', async () => {
    await migrate(database, folder);
    await write('0001_first.sql', `${FIRST} `);
    await expect(migrate(database, folder)).rejects.toThrow(
      'migration 0001_first.sql was changed after it was applied',
    );
  });

  it('that fails leaves nothing behind, of itself and of those before it', async () => {
    await write('0002_second.sql', 'create table second (id nonsense)');
    await expect(migrate(database, folder)).rejects.toThrow(/nonsense/);
    await write('0002_second.sql', SECOND);
    expect((await migrate(database, folder)).applied).toHaveLength(2);
  });

  it('without one before it is refused: numbers have no gaps', async () => {
    await write('0003_third.sql', SECOND);
    await expect(migrate(database, folder)).rejects.toThrow(/0003_third.sql: numbers must be/);
  });
});

function inSchema(url: string): string {
  const changed = new URL(url);
  changed.searchParams.set('options', '-c search_path=empty');
  return changed.href;
}
