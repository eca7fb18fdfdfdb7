import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { type Lease, Leases } from './mlflow-leases.ts';
import { withCode } from './model-registry-harness.ts';

describe('leases on models and runs', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase({ maxConnections: 8 });
  });
  afterAll(() => db.drop());

  const leases = (ttlMs = 30_000, waitMs = 20_000): Leases => new Leases(db.database, { ttlMs, waitMs });
  const rows = async (resource: string): Promise<number> =>
    (await db.database.query('select 1 from registry_mlflow_leases where resource = $1', [resource])).rows.length;

  test('one holder at a time, in one process and over processes', async () => {
    const processes = [leases(), leases(), leases()];
    let holders = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      most = Math.max(most, ++holders);
      await db.database.query('select pg_sleep(0.01)');
      holders--;
    };
    await Promise.all(processes.flatMap((each) => Array.from({ length: 8 }, () => each.hold('one', work))));
    expect(most).toBe(1);
    expect(await rows('one')).toBe(0);
  });

  test('other resources are free, and a failure gives the lease back', async () => {
    const each = leases();
    await each.hold('left', () => leases(30_000, 0).hold('right', async () => undefined));
    await expect(each.hold('left', () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    await leases(30_000, 0).hold('left', async () => undefined);
  });

  test('who waits too long is told RegistryUnavailable', async () => {
    await leases().hold('busy', async () => {
      await expect(leases(30_000, 100).hold('busy', async () => undefined)).rejects.toEqual(
        withCode('RegistryUnavailable'),
      );
    });
  });

  test('a holder that froze past its time loses the lease: it can neither go on nor write', async () => {
    const { promise: frozen, resolve: thaw } = Promise.withResolvers<void>();
    const { promise: held, resolve: hold } = Promise.withResolvers<Lease>();
    const zombie = leases(200).hold('frozen', async (lease) => {
      hold(lease);
      await frozen;
      await lease.confirm();
    });
    const lease = await held;
    await leases().hold('frozen', async () => {
      thaw();
      await expect(zombie).rejects.toEqual(withCode('RegistryUnavailable'));
      const writing = lease.write((tx) =>
        tx.query(`insert into registry_mlflow_models (namespace, project, name) values ('', 'zombie', 'm')`),
      );
      await expect(writing).rejects.toEqual(withCode('RegistryUnavailable'));
      // The zombie's way out did not give the lease of the new holder back.
      expect(await rows('frozen')).toBe(1);
    });
    const { rows: written } = await db.database.query(`select 1 from registry_mlflow_models where project = 'zombie'`);
    expect(written).toEqual([]);
  });

  test('a holder that goes on keeps its lease beyond the first time', async () => {
    await leases(400).hold('long', async (lease) => {
      const began = performance.now();
      await eventually(async () => {
        await lease.confirm();
        return performance.now() - began > 1_000;
      });
      await expect(leases(400, 0).hold('long', async () => undefined)).rejects.toEqual(withCode('RegistryUnavailable'));
    });
  });

  test('MR-5: the database itself refuses a second prod', async () => {
    await db.database.query(`insert into registry_mlflow_models (namespace, project, name) values ('', 'p', 'm')`);
    const insert = (version: number) =>
      db.database.query(
        `insert into registry_mlflow_versions (namespace, project, name, version, source_key, stage, mlflow_version, mlflow_stage)
         values ('', 'p', 'm', $1::int, 's' || $1::text, 'prod', 1, 'dev')`,
        [version],
      );
    await insert(1);
    await expect(insert(2)).rejects.toEqual(withCode('23505'));
  });
});
