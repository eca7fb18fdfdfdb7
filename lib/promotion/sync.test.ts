import { afterAll, beforeAll, expect, it } from 'vitest';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { newVersion } from '#lib/model-registry/model-registry-harness.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import { PostgresModelRegistry } from '#lib/model-registry/postgres-registry.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { PostgresPromotionLedger } from './postgres-ledger.ts';
import { syncPromotions } from './sync.ts';

let db: TestDatabase;
let registry: ModelRegistry;
let ledger: PostgresPromotionLedger;
beforeAll(async () => {
  db = await createTestDatabase({ maxConnections: 8 });
  registry = new PostgresModelRegistry(db.database);
  ledger = new PostgresPromotionLedger(db.database);
});
afterAll(() => db.drop());

const now = (): number => 9_000;
const versionsOf = async (model: string, count: number): Promise<void> => {
  for (let i = 1; i <= count; i++) await registry.createVersion(newVersion(model, `${model}-${i}`));
};
const promote = (model: string, version: number) =>
  ledger.promote({
    project: 'demo',
    model,
    version,
    stage: 'prod',
    jobId: null,
    requestedBy: 'k',
    reason: '',
    atMs: version,
  });
const stagesOf = async (model: string): Promise<string[]> =>
  (await registry.listVersions('demo', model, { limit: 10 })).reverse().map(({ stage }) => stage);
const down = { setStage: () => Promise.reject(new TrainyardError('RegistryUnavailable', 'down')) };

it('a rollback while the registry is down takes less than a second, and the registry follows when it is back', async () => {
  await versionsOf('a', 3);
  for (const version of [1, 2, 3]) await promote('a', version);
  expect(await syncPromotions(ledger, registry, now)).toMatchObject({ pushed: 3 });
  expect(await stagesOf('a')).toEqual(['archived', 'archived', 'prod']);

  const start = performance.now();
  const request = { project: 'demo', model: 'a', requestedBy: 'k', reason: 'bad', atMs: 10 };
  expect(await ledger.rollback(request)).toMatchObject({ ok: true, promotion: { version: 2 } });
  expect(performance.now() - start).toBeLessThan(1_000);
  const report = await syncPromotions(ledger, down, now);
  expect(report).toMatchObject({ pushed: 0, waiting: new Map([['demo/a', 'down']]) });
  expect((await ledger.stages('demo', 'a')).get(2)).toBe('prod');
  expect(await stagesOf('a')).toEqual(['archived', 'archived', 'prod']);

  expect(await syncPromotions(ledger, registry, now)).toMatchObject({ pushed: 1 });
  expect(await stagesOf('a')).toEqual(['archived', 'prod', 'archived']);
  expect(await syncPromotions(ledger, registry, now)).toMatchObject({ pushed: 0 });
});

it('one model that the registry fails for does not hold up the others', async () => {
  await versionsOf('b', 1);
  await versionsOf('c', 1);
  await promote('b', 1);
  await promote('c', 1);
  const failsForB: Pick<ModelRegistry, 'setStage'> = {
    setStage: (project, name, version, stage) =>
      name === 'b' ? down.setStage() : registry.setStage(project, name, version, stage),
  };
  const report = await syncPromotions(ledger, failsForB, now);
  expect(report).toMatchObject({ pushed: 1 });
  expect([...report.waiting.keys()]).toEqual(['demo/b']);
  expect(await stagesOf('c')).toEqual(['prod']);
  await syncPromotions(ledger, registry, now);
});

it('a version that the registry does not have is given up, and what comes after it is pushed', async () => {
  await versionsOf('d', 1);
  await promote('d', 9);
  await promote('d', 1);
  const report = await syncPromotions(ledger, registry, now);
  expect(report.refused.map(({ version }) => version)).toEqual([9]);
  expect(await stagesOf('d')).toEqual(['prod']);
});

it('several processes at once push every row once and in order', async () => {
  await versionsOf('e', 4);
  const order: number[] = [];
  const noting: Pick<ModelRegistry, 'setStage'> = {
    setStage: (project, name, version, stage) => {
      order.push(version);
      return registry.setStage(project, name, version, stage);
    },
  };
  const versions = [1, 2, 3, 4, 3, 2, 1, 4];
  for (const version of versions) await promote('e', version);
  for (let round = 0; order.length < versions.length && round < 50; round++)
    await Promise.all([1, 2, 3].map(() => syncPromotions(ledger, noting, now)));
  expect(order).toEqual(versions);
});
