import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Database } from '#lib/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { cutConnection, fetchAsHost, rawMlflow } from '../../test/support/mlflow-faults.ts';
import {
  type MlflowServer,
  missingMlflow,
  missingMlflowClient,
  mlflowServer,
} from '../../test/support/mlflow-server.ts';
import { artifactAddress } from './artifact-address.ts';
import { MlflowModelRegistry } from './mlflow-registry.ts';
import { modelRegistryContract } from './model-registry.contract.ts';
import { newVersion, PROJECT, run, withCode } from './model-registry-harness.ts';
import { openModelRegistry } from './open.ts';
import type { ModelRegistry } from './port.ts';

const missing = await missingMlflow();
const missingClient = await missingMlflowClient();
if (missing !== null) console.log(`not run: mlflow: ${missing}`);

describe.skipIf(missing !== null)('MLflow 3', () => {
  let server: MlflowServer;
  beforeAll(async () => {
    server = await mlflowServer();
  });

  const newNamespace = (): string => `t${randomBytes(6).toString('hex')}`;
  const url = (namespace: string): string => `mlflow+${server.url}?namespace=${namespace}`;

  modelRegistryContract('mlflow', async () => {
    const db = await createTestDatabase();
    // A second pool stands for another process.
    const other = new Database({ url: db.url, applicationName: 'test-other' });
    const address = url(newNamespace());
    let opened = 0;
    return {
      open: () => openModelRegistry(address, { database: opened++ % 2 === 0 ? db.database : other }),
      close: async () => {
        await other.close();
        await db.drop();
      },
    };
  });

  describe('as others see it', () => {
    const namespace = newNamespace();
    const shownName = (name: string): string => `${namespace}~.${PROJECT}.${name}`;
    let db: TestDatabase;
    let registry: ModelRegistry;
    beforeAll(async () => {
      db = await createTestDatabase();
      registry = openModelRegistry(url(namespace), {
        database: db.database,
        artifactUri: artifactAddress('s3://models/trainyard?region=us-east-1'),
      });
    });
    afterAll(() => db.drop());

    test.skipIf(missingClient !== null)(
      "MLflow's own Python client reads versions, lineage, aliases, runs and curves",
      async () => {
        const points = [4, 2, 1].map((value, step) => ({ name: 'train/loss', step: 10 * step, value }));
        await registry.upsertRun(run('run-1', { params: { learningRate: '0.001', empty: '' } }));
        await registry.logMetrics(PROJECT, 'run-1', points);
        for (const key of ['a', 'b']) await registry.createVersion(newVersion('python', key));
        await registry.setStage(PROJECT, 'python', 1, 'prod');
        await registry.setStage(PROJECT, 'python', 2, 'prod');
        const script = new URL('../../test/support/read-mlflow.py', import.meta.url).pathname;
        const given = [server.url, shownName('python'), `trainyard:${namespace}/${PROJECT}`, 'run-1', 'train/loss'];
        const { stdout } = await promisify(execFile)(await server.python(), [script, ...given], { timeout: 100_000 });
        const seen = JSON.parse(stdout) as { run: { id: string } };
        expect(seen).toMatchObject({
          versions: [
            { version: '2', source: 's3://models/trainyard/artifacts/b/manifest.json', runId: seen.run.id },
            { version: '1', tags: { 'trainyard.stage': 'archived', 'trainyard.dataset_digest': 'd'.repeat(64) } },
          ],
          aliases: { prod: '2', archived: '1' },
          prod: { version: '2', stage: 'prod' },
          runs: 1,
          run: {
            status: 'FINISHED',
            params: { learningRate: '0.001', empty: '' },
            tags: {
              'trainyard.job_id': 'job-1',
              method: 'lora',
              'trainyard.artifacts.0': '["artifacts/job-1/manifest.json"]',
            },
            last: 1,
          },
          history: points.map(({ step, value }) => ({ step, value })),
        });
      },
    );

    test('what the address of the server does not serve is RegistryUnavailable that says what to start it with', async () => {
      const elsewhere = new MlflowModelRegistry({
        address: server.url,
        namespace,
        database: db.database,
        fetch: fetchAsHost('mlflow:5000'),
      });
      for (const attempt of [elsewhere.check(), elsewhere.createVersion(newVersion('host', 'a'))])
        await expect(attempt).rejects.toMatchObject({
          code: 'RegistryUnavailable',
          message: expect.stringMatching(/--allowed-hosts.*Invalid Host header/) as string,
        });
      expect(await registry.createVersion(newVersion('host', 'b'))).toMatchObject({ version: 1 });
      expect(await registry.createVersion(newVersion('host', 'a'))).toMatchObject({ version: 2 });
    });

    test('a version that MLflow refuses for good takes no number and holds nothing up', async () => {
      const refused = registry.createVersion(newVersion('refused', 'a', { manifestKey: 'a/../../b/manifest.json' }));
      await expect(refused).rejects.toEqual(withCode('ValidationFailed'));
      expect(await registry.createVersion(newVersion('refused', 'b'))).toMatchObject({ version: 1 });
    });

    test('tags named like ours or like those of MLflow are refused, naming the field', async () => {
      const pointer = '/tags/trainyard.stage';
      const reserved = { code: 'ValidationFailed', fields: [{ pointer }] };
      const tags = { 'trainyard.stage': 'prod' };
      await registry.createVersion(newVersion('reserved', 'a'));
      await expect(registry.setTags(PROJECT, 'reserved', 1, tags)).rejects.toMatchObject(reserved);
      await expect(registry.createVersion(newVersion('reserved', 'b', { tags }))).rejects.toMatchObject(reserved);
      await expect(registry.upsertRun(run('reserved', { tags: { 'mlflow.runName': 'x' } }))).rejects.toMatchObject({
        fields: [{ pointer: '/tags/mlflow.runName' }],
      });
    });

    test('a version deleted by hand is null; its number is not given again, and the others go on', async () => {
      const raw = rawMlflow(server.url);
      for (const key of ['a', 'b']) await registry.createVersion(newVersion('deleted', key));
      await registry.setStage(PROJECT, 'deleted', 2, 'prod');
      await raw.ask('DELETE', 'model-versions/delete', { name: shownName('deleted'), version: '2' });
      expect(await registry.getVersion(PROJECT, 'deleted', 2)).toBeNull();
      expect(await registry.resolve(PROJECT, 'deleted', 'prod')).toBeNull();
      await expect(registry.createVersion(newVersion('deleted', 'b'))).rejects.toEqual(withCode('StateConflict'));
      expect(await registry.createVersion(newVersion('deleted', 'c'))).toMatchObject({ version: 3 });
      expect(await registry.setStage(PROJECT, 'deleted', 3, 'prod')).toMatchObject({ stage: 'prod' });
      const listed = await registry.listVersions(PROJECT, 'deleted', { limit: 10 });
      expect(listed.map(({ version }) => version)).toEqual([3, 1]);
    });

    test('a model deleted by hand and made again does not answer for its former versions', async () => {
      for (const key of ['a', 'b']) await registry.createVersion(newVersion('again', key));
      await rawMlflow(server.url).ask('DELETE', 'registered-models/delete', { name: shownName('again') });
      const third = await registry.createVersion(newVersion('again', 'c'));
      expect(third).toMatchObject({ version: 3, manifestKey: 'artifacts/c/manifest.json' });
      expect((await rawMlflow(server.url).versions(shownName('again'))).map(({ version }) => version)).toEqual(['1']);
      expect(await registry.getVersion(PROJECT, 'again', 1)).toBeNull();
      expect(await registry.listVersions(PROJECT, 'again', { limit: 10 })).toEqual([third]);
    });

    test('a new database takes over what MLflow has: repeated jobs find their version, numbers go on', async () => {
      const first = await registry.createVersion(newVersion('adopted', 'a'));
      await registry.createVersion(newVersion('adopted', 'b'));
      await registry.setStage(PROJECT, 'adopted', 1, 'prod');
      await registry.upsertRun(run('adopted'));
      const empty = await createTestDatabase();
      try {
        // The first call fails: what it began must not hide the versions from the next one.
        const down = new MlflowModelRegistry({
          address: server.url,
          namespace,
          database: empty.database,
          fetch: () => Promise.reject(cutConnection('ECONNREFUSED')),
          wait: async () => undefined,
        });
        await expect(down.createVersion(newVersion('adopted', 'a'))).rejects.toEqual(withCode('RegistryUnavailable'));
        const restored = openModelRegistry(url(namespace), { database: empty.database });
        expect(await restored.createVersion(newVersion('adopted', 'a'))).toEqual({ ...first, stage: 'prod' });
        expect(await restored.createVersion(newVersion('adopted', 'c'))).toMatchObject({ version: 3 });
        expect(await rawMlflow(server.url).versions(shownName('adopted'))).toHaveLength(3);
        await restored.upsertRun(run('adopted'));
        expect(await restored.getRun(PROJECT, 'adopted')).toEqual(run('adopted'));
      } finally {
        await empty.drop();
      }
    });

    test('runs with more params, tags and addresses than one batch takes come back whole', async () => {
      const params = Object.fromEntries(Array.from({ length: 250 }, (_, n) => [`p${n}`, 'ü'.repeat(6_000)]));
      const tags = Object.fromEntries(Array.from({ length: 130 }, (_, n) => [`t${n}`, 'x'.repeat(5_000)]));
      const artifactUris = Array.from({ length: 400 }, (_, n) => `artifacts/${n}/${'"'.repeat(50)}`);
      const large = run('large', { params, tags, artifactUris });
      await registry.upsertRun(large);
      expect(await registry.getRun(PROJECT, 'large')).toEqual(large);
      const fewer = { ...large, artifactUris: ['only'] };
      await registry.upsertRun(fewer);
      expect(await registry.getRun(PROJECT, 'large')).toEqual(fewer);
    });

    test('the last value counts, also one that was there before, and from a process whose clock is behind', async () => {
      await registry.upsertRun(run('returning'));
      vi.useFakeTimers({ toFake: ['Date'] });
      try {
        for (const value of [1, 3, 1]) {
          vi.setSystemTime(Date.now() - 3_600_000);
          await registry.logMetrics(PROJECT, 'returning', [{ name: 'loss', step: 5, value }]);
          expect(await registry.metrics(PROJECT, 'returning')).toEqual([{ name: 'loss', step: 5, value }]);
        }
      } finally {
        vi.useRealTimers();
      }
    });

    test('a page of versions is read across versions of other pages', async () => {
      for (let n = 1; n <= 5; n++) await registry.createVersion(newVersion('pages', `s${n}`));
      const page = await registry.listVersions(PROJECT, 'pages', { limit: 2, before: 4 });
      expect(page.map(({ version, tags }) => [version, tags])).toEqual([
        [3, { method: 'lora' }],
        [2, { method: 'lora' }],
      ]);
    });

    test('projects and names that would run together stay apart', async () => {
      const [one, two] = [newVersion('b.c', 'x', { project: 'a' }), newVersion('c', 'y', { project: 'a.b' })];
      expect(await registry.createVersion(one)).toMatchObject({ version: 1 });
      expect(await registry.createVersion(two)).toMatchObject({ version: 1 });
      expect(await registry.createVersion(newVersion('c', 'z', { project: 'ä/~:b' }))).toMatchObject({ version: 1 });
      expect(await registry.resolve('ä/~:b', 'c', 'latest')).toMatchObject({ project: 'ä/~:b' });
    });
  });
});
