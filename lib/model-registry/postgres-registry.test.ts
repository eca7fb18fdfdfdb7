import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Database, sqlState } from '#lib/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { modelRegistryContract } from './model-registry.contract.ts';
import { openModelRegistry } from './open.ts';
import { PostgresModelRegistry } from './postgres-registry.ts';

modelRegistryContract('postgres', async () => {
  const test = await createTestDatabase();
  // A second pool stands for another process.
  const other = new Database({ url: test.url, applicationName: 'test-other' });
  let opened = 0;
  return {
    open: () => new PostgresModelRegistry(opened++ % 2 === 0 ? test.database : other),
    close: async () => {
      await other.close();
      await test.drop();
    },
  };
});

describe('postgres registry', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
    await db.database.query(`insert into registry_models (project, name, last_version) values ('p', 'm', 2)`);
  });
  afterAll(() => db.drop());

  const insert = (version: number, stage: string, lineage: string): Promise<unknown> =>
    db.database.query(
      `insert into registry_versions (project, name, version, source_key, stage, manifest_key, job_id, run_id, dataset_name,
         dataset_version, dataset_digest, config_digest, code_commit, base_model_digest, evaluation_report_digest, manifest_digest)
       values ('p', 'm', $1::int, 's' || $1::text, $2, 'k', 'j', 'r', 'n', '1', 'd', 'c', $3, 'b', 'e', 'f')`,
      [version, stage, lineage],
    );

  test('MR-3, MR-5: the database itself refuses an empty lineage and a second prod', async () => {
    const state = (attempt: Promise<unknown>): Promise<string | null> => attempt.then(() => null, sqlState);
    expect(await state(insert(1, 'dev', ' '))).toBe('23514');
    expect(await state(insert(1, 'prod', 'commit'))).toBeNull();
    expect(await state(insert(2, 'prod', 'commit'))).toBe('23505');
    expect(await state(db.database.query(`update registry_versions set job_id = null`))).toBe('23502');
  });

  test('a database that does not answer is RegistryUnavailable, which is retryable', async () => {
    const url = new URL(db.url);
    url.port = '1';
    const database = new Database({ url: url.href, applicationName: 'test-down', connectTimeoutMs: 1_000 });
    const registry = new PostgresModelRegistry(database);
    const down = expect.objectContaining({ code: 'RegistryUnavailable', retryable: true }) as unknown;
    await expect(registry.check()).rejects.toEqual(down);
    await expect(registry.getRun('p', 'r')).rejects.toEqual(down);
    await expect(registry.logMetrics('p', 'r', [])).rejects.toEqual(down);
    await database.close();
  });

  test('a session that the server ends is RegistryUnavailable, and the next call serves', async () => {
    const registry = new PostgresModelRegistry(db.database);
    const killed = db.database.query('select pg_terminate_backend(pg_backend_pid())').catch((error: unknown) => error);
    expect(sqlState(await killed)).toBe('57P01');
    await expect(registry.check()).resolves.toBeUndefined();
  });

  test('postgres: opens the built-in registry', async () => {
    await expect(openModelRegistry('postgres:', db).check()).resolves.toBeUndefined();
  });

  test.each(['', 'mlflow://user:secret@host:5000', 'postgres://host/db', 'file:///x'])(
    'the URL %j is refused with the name of the variable and without its secrets',
    (url) => {
      expect(() => openModelRegistry(url, db)).toThrow(/MODEL_REGISTRY_URL/);
      expect(() => openModelRegistry(url, db)).not.toThrow(/secret/);
    },
  );
});
