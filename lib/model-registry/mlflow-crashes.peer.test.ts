import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { cutConnection, type Death, dyingFetch, rawMlflow } from '../../test/support/mlflow-faults.ts';
import { type MlflowServer, missingMlflow, mlflowServer } from '../../test/support/mlflow-server.ts';
import { LINEAGE, newVersion, PROJECT, run } from './model-registry-harness.ts';
import { MlflowModelRegistry, type MlflowRegistryOptions } from './mlflow-registry.ts';
import type { MetricPoint, ModelRegistry } from './port.ts';

const missing = await missingMlflow();
if (missing !== null) console.log(`not run: mlflow crashes: ${missing}`);

describe.skipIf(missing !== null)('a process that dies around any of its requests to MLflow', () => {
  let server: MlflowServer;
  let db: TestDatabase;
  const namespace = `t${randomBytes(6).toString('hex')}`;
  beforeAll(async () => {
    [server, db] = await Promise.all([mlflowServer(), createTestDatabase({ maxConnections: 10 })]);
  });
  afterAll(async () => {
    await db.drop();
  });

  const process = (options: Partial<MlflowRegistryOptions> = {}): ModelRegistry =>
    new MlflowModelRegistry({
      address: server.url,
      namespace,
      database: db.database,
      // Short, since every death below leaves its lease behind; longer than any request here.
      leaseTimes: { ttlMs: 1_000, waitMs: 20_000 },
      ...options,
    });
  const shownName = (name: string): string => `${namespace}~.${PROJECT}.${name}`;

  /**
   * Lets a process die at each request of `work` in turn, before and after it was carried out, and a second one do the work again;
   * `check` looks after either. Every death has a model or run of its own (`id`). Answers how many deaths there were.
   */
  async function dieEverywhere(steps: {
    prepare?: (id: string) => Promise<unknown>;
    work: (registry: ModelRegistry, id: string) => Promise<unknown>;
    atDeath?: (id: string) => Promise<void>;
    check: (id: string) => Promise<void>;
  }): Promise<number> {
    for (let at = 1; ; at++) {
      const ended = await Promise.all(
        (['before', 'after'] as const).map(async (when) => {
          const id = `${when}-${at}-${randomBytes(3).toString('hex')}`;
          await steps.prepare?.(id);
          const { fetch, dead } = dyingFetch({ at, when } satisfies Death);
          const outcome = await Promise.race([steps.work(process({ fetch }), id).then(() => 'done' as const), dead]);
          if (outcome === 'dead') await steps.atDeath?.(id);
          await steps.work(process(), id);
          await steps.check(id);
          return outcome;
        }),
      );
      if (ended.includes('done')) return at - 1;
    }
  }

  test('MR-1, MR-2: createVersion again makes exactly one version, with all of its tags and its alias', async () => {
    const deaths = await dieEverywhere({
      work: (registry, id) => registry.createVersion(newVersion(id, 'source')),
      check: async (id) => {
        const versions = await rawMlflow(server.url).versions(shownName(id));
        expect(versions.map(({ tags }) => tags)).toEqual([
          {
            method: 'lora',
            'trainyard.project': PROJECT,
            'trainyard.name': id,
            'trainyard.version': '1',
            'trainyard.stage': 'dev',
            'trainyard.source_key': 'source',
            'trainyard.manifest_key': 'artifacts/source/manifest.json',
            'trainyard.job_id': 'source',
            'trainyard.run_id': LINEAGE.runId,
            'trainyard.dataset_name': LINEAGE.datasetName,
            'trainyard.dataset_version': LINEAGE.datasetVersion,
            'trainyard.dataset_digest': LINEAGE.datasetDigest,
            'trainyard.config_digest': LINEAGE.configDigest,
            'trainyard.code_commit': LINEAGE.codeCommit,
            'trainyard.base_model_digest': LINEAGE.baseModelDigest,
            'trainyard.evaluation_report_digest': LINEAGE.evaluationReportDigest,
            'trainyard.manifest_digest': LINEAGE.manifestDigest,
          },
        ]);
        expect(await rawMlflow(server.url).aliases(shownName(id))).toEqual({ dev: versions[0]?.version });
        expect(await process().createVersion(newVersion(id, 'next'))).toMatchObject({ version: 2 });
      },
    });
    expect(deaths).toBeGreaterThanOrEqual(7);
  });

  test('the next version completes the one whose process died, in the order of their numbers', async () => {
    const ids = new Set<string>();
    await dieEverywhere({
      // The first to come dies; nobody ever repeats its call.
      work: async (registry, id) => {
        const isFirst = !ids.has(id);
        ids.add(id);
        return registry.createVersion(newVersion(id, isFirst ? 'a' : 'b'));
      },
      check: async (id) => {
        const versions = await process().listVersions(PROJECT, id, { limit: 10 });
        const made = versions.map(({ version, manifestKey }) => `${version} ${manifestKey}`).toReversed();
        // Whoever died before its number was taken has made nothing.
        const both = ['1 artifacts/a/manifest.json', '2 artifacts/b/manifest.json'];
        expect([both, ['1 artifacts/b/manifest.json']]).toContainEqual(made);
      },
    });
  });

  test('MR-5: no moment of a promotion shows two versions in prod, and its repetition completes it', async () => {
    const raw = rawMlflow(server.url);
    const inProd = async (id: string): Promise<Set<string>> => {
      const tagged = (await raw.versions(shownName(id))).filter(({ tags }) => tags['trainyard.stage'] === 'prod');
      const alias = (await raw.aliases(shownName(id)))['prod'];
      return new Set([...tagged.map(({ version }) => version), ...(alias === undefined ? [] : [alias])]);
    };
    const deaths = await dieEverywhere({
      prepare: async (id) => {
        for (const key of ['a', 'b']) await process().createVersion(newVersion(id, key));
        await process().setStage(PROJECT, id, 1, 'prod');
      },
      work: (registry, id) => registry.setStage(PROJECT, id, 2, 'prod'),
      atDeath: async (id) => expect((await inProd(id)).size).toBe(1),
      check: async (id) => {
        const [first, second] = await raw.versions(shownName(id));
        expect([first?.tags['trainyard.stage'], second?.tags['trainyard.stage']]).toEqual(['archived', 'prod']);
        expect(await raw.aliases(shownName(id))).toEqual({ archived: first?.version, prod: second?.version });
        expect(await process().getVersion(PROJECT, id, 1)).toMatchObject({ stage: 'archived' });
      },
    });
    expect(deaths).toBeGreaterThanOrEqual(7);
  });

  test('MR-4: upsertRun and logMetrics again leave one run with everything, each point once', async () => {
    const points: MetricPoint[] = Array.from({ length: 2_500 }, (_, step) => ({ name: 'loss', step, value: step / 7 }));
    const raw = rawMlflow(server.url);
    const deaths = await dieEverywhere({
      work: async (registry, id) => {
        await registry.upsertRun(run(id));
        await registry.logMetrics(PROJECT, id, points);
      },
      check: async (id) => {
        expect(await process().getRun(PROJECT, id)).toEqual(run(id));
        expect(await process().metrics(PROJECT, id)).toEqual(points);
        const found = await raw.ask('POST', 'runs/search', {
          experiment_ids: [await experimentId(raw)],
          filter: `tags.\`trainyard.run_id\` = '${id}'`,
        });
        const [only, ...others] = found['runs'] as { info: { run_id: string; status: string } }[];
        expect(others).toEqual([]);
        expect(only?.info.status).toBe('FINISHED');
        const history = await raw.ask(
          'GET',
          `metrics/get-history?run_id=${only?.info.run_id ?? ''}&metric_key=loss&max_results=20000`,
        );
        expect(history['metrics']).toHaveLength(points.length);
      },
    });
    expect(deaths).toBeGreaterThanOrEqual(9);
  });

  const experimentId = async (raw: ReturnType<typeof rawMlflow>): Promise<string> => {
    const name = encodeURIComponent(`trainyard:${namespace}/${PROJECT}`);
    const answer = await raw.ask('GET', `experiments/get-by-name?experiment_name=${name}`);
    return (answer['experiment'] as { experiment_id: string }).experiment_id;
  };

  test('a creation that MLflow carries out after its repetition is removed before the next version', async () => {
    const late: (() => Promise<unknown>)[] = [];
    const slowNetwork: typeof fetch = async (input, init) => {
      if (late.length === 0 && new Request(input).url.includes('model-versions/create')) {
        late.push(() => fetch(input, { ...init, signal: null }));
        throw cutConnection();
      }
      return fetch(input, init);
    };
    await process().createVersion(newVersion('late', 'first'));
    const registry = process({ fetch: slowNetwork });
    expect(await registry.createVersion(newVersion('late', 'second'))).toMatchObject({ version: 2 });
    expect(late).toHaveLength(1);
    await late[0]?.();
    const raw = rawMlflow(server.url);
    expect(await raw.versions(shownName('late'))).toHaveLength(3);
    expect(await registry.listVersions(PROJECT, 'late', { limit: 10 })).toHaveLength(2);
    expect(await registry.createVersion(newVersion('late', 'third'))).toMatchObject({ version: 3 });
    const numbers = (await raw.versions(shownName('late'))).map(({ tags }) => tags['trainyard.version']);
    expect(numbers).toEqual(['1', '2', '3']);
  });

  test('cut connections in a random schedule change nothing', async () => {
    const seed = Number(globalThis.process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
    console.log(`mlflow-crashes: cut connections, seed ${seed} (TEST_SEED=${seed})`);
    let state = seed;
    const random = (): number => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    let cuts = 0;
    const unreliable: typeof fetch = async (input, init) => {
      const luck = random();
      if (luck < 0.15) {
        cuts++;
        throw cutConnection();
      }
      const response = await fetch(input, init);
      if (luck < 0.3) {
        cuts++;
        await response.arrayBuffer();
        throw cutConnection();
      }
      return response;
    };
    const registry = process({ fetch: unreliable, wait: async () => undefined });
    const again = async <T>(work: () => Promise<T>): Promise<T> => {
      for (let tries = 1; ; tries++)
        try {
          return await work();
        } catch (error) {
          if (tries === 20 || (error as { code?: unknown }).code !== 'RegistryUnavailable') throw error;
        }
    };
    for (const key of ['a', 'b', 'c', 'd']) {
      await again(() => registry.upsertRun(run(`cut-${key}`)));
      const created = await again(() => registry.createVersion(newVersion('cut', key)));
      await again(() => registry.setStage(PROJECT, 'cut', created.version, 'prod'));
    }
    expect(cuts).toBeGreaterThan(10);
    const shown = (await rawMlflow(server.url).versions(shownName('cut'))).map(({ tags }) => [
      tags['trainyard.version'],
      tags['trainyard.source_key'],
      tags['trainyard.stage'],
    ]);
    expect(new Set(shown.map((each) => each.join()))).toEqual(
      new Set(['1,a,archived', '2,b,archived', '3,c,archived', '4,d,prod']),
    );
    expect(shown).toHaveLength(4);
  });
});
