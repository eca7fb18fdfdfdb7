import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ActivityInput, ActivityName } from '#lib/contracts/activities.ts';
import type { ExecuteActivity } from '#lib/contracts/generated/messages.ts';
import { MlflowModelRegistry } from '#lib/model-registry/mlflow-registry.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import { openObjectStore } from '#lib/object-store/open.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import { createLogger } from '#lib/service/logger.ts';
import { Attempt, type AttemptEnd } from '#lib/worker/attempt.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { cpuActivities } from '../../services/cpu-worker/app/activities.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { cutConnection, rawMlflow } from '../support/mlflow-faults.ts';
import { type MlflowServer, missingMlflow, mlflowServer } from '../support/mlflow-server.ts';

const missing = await missingMlflow();
if (missing !== null) console.log(`not run: registry outage: ${missing}`);

const JOB = 'job-outage';
const DIGEST = 'a'.repeat(64);
const CONFIG = { n_layer: 2, n_head: 2, n_embd: 32, n_positions: 64 };

describe.skipIf(missing !== null)('MLflow is down while a job ends', () => {
  let server: MlflowServer;
  let db: TestDatabase;
  let home: string;
  let store: ObjectStore;
  beforeAll(async () => {
    [server, db, home] = await Promise.all([
      mlflowServer(),
      createTestDatabase(),
      mkdtemp(join(tmpdir(), 'trainyard-outage-')),
    ]);
    store = openObjectStore(pathToFileURL(join(home, 'objects')).href);
    const folder = join(home, 'workspace', 'out', 'model-e1');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'config.json'), JSON.stringify(CONFIG));
    await writeFile(join(folder, 'model.safetensors'), randomBytes(10_000));
    const lines = Array.from({ length: 50 }, (_, step) =>
      JSON.stringify({ name: 'loss', step, value: 1 / (step + 1) }),
    );
    await writeFile(join(home, 'workspace', 'out', 'model-e1.metrics.jsonl'), `${lines.join('\n')}\n`);
  });
  afterAll(async () => {
    await db.drop();
    await rm(home, { recursive: true, force: true });
  });

  /** A worker's platform under a simulated clock, with a registry that cannot be reached before `upAtMs`. */
  function platformUntil(upAtMs: number, namespace: string) {
    const time = { nowMs: 0, refused: 0 };
    const wait = async (ms: number): Promise<void> => {
      time.nowMs += ms;
    };
    const registry = new MlflowModelRegistry({
      address: server.url,
      namespace,
      database: db.database,
      wait,
      fetch: async (input, init) => {
        if (time.nowMs < upAtMs) {
          time.refused++;
          throw cutConnection('ECONNREFUSED');
        }
        return fetch(input, init);
      },
    });
    const platform: WorkerPlatform = {
      store,
      registry,
      workspaceDir: join(home, 'workspace'),
      workspaceMarginBytes: 0,
      log: createLogger({ service: 'test', level: 'silent' }),
      clock: { now: () => time.nowMs, wait },
    };
    return { platform, time };
  }

  /** Attempts of an activity as the orchestrator makes them: a yield is queued again and burns nothing. */
  async function runToItsEnd<A extends ActivityName>(
    platform: WorkerPlatform,
    name: A,
    input: ActivityInput<A>,
  ): Promise<{ yields: number; end: AttemptEnd }> {
    const activity = cpuActivities(platform, { stages: () => Promise.resolve(new Map()) })[name];
    if (activity === undefined) throw new Error(`no activity ${name}`);
    for (let yields = 0; ; yields++) {
      const command: ExecuteActivity = {
        workflowId: 'wf',
        activityId: name,
        epoch: yields + 1,
        jobId: JOB,
        project: 'demo',
        activity: name,
        workerId: 'w',
        inputJson: JSON.stringify(input),
        heartbeatEveryMs: 60_000,
        deadlineAtMs: 1e12,
        resumeJson: null,
      };
      const end = await new Attempt(command, 0).run(activity, () => undefined);
      if (end.kind !== 'yielded') return { yields, end };
      expect(end.reason).toBe('RegistryUnavailable');
    }
  }

  const registration = async (): Promise<ActivityInput<'register_model'>> => {
    const uploaded = await uploadFolder(
      store,
      join(home, 'workspace', 'out', 'model-e1'),
      `artifacts/demo/${JOB}/model-e1`,
      {
        createdBy: { jobId: JOB, activity: 'run_training', epoch: 1 },
      },
    );
    return {
      jobId: JOB,
      project: 'demo',
      name: 'speeches',
      runId: `run-${JOB}`,
      technique: 'full',
      artifacts: { manifestKey: uploaded.manifestKey, digest: uploaded.digest },
      dataset: { name: 'tales', version: 1, format: 'text', key: 'datasets/tales/1', sha256: DIGEST, bytes: 100 },
      base: { kind: 'config', config: { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64 } },
      configDigest: DIGEST,
      codeCommit: '0123abc',
      report: { key: 'reports/r.json', digest: DIGEST },
      vocabularySize: 512,
    };
  };

  test.each([
    ['ten minutes', 600_000, 1],
    ['five hours', 18_000_000, 10],
  ])(
    'for %s: the job waits in register_model, burns no retry, and registers exactly one version',
    async (_, downMs, most) => {
      const namespace = `t${randomBytes(6).toString('hex')}`;
      const { platform, time } = platformUntil(downMs, namespace);
      const { yields, end } = await runToItsEnd(platform, 'register_model', await registration());
      expect(end).toMatchObject({ kind: 'completed' });
      expect(JSON.parse((end as { outputJson: string }).outputJson)).toMatchObject({ version: 1, stage: 'dev' });
      expect(time.nowMs).toBeGreaterThanOrEqual(downMs);
      expect(time.nowMs).toBeLessThan(downMs + 60_000);
      expect(time.refused).toBeGreaterThan(20);
      expect(yields).toBeGreaterThanOrEqual(most);
      const versions = await rawMlflow(server.url).versions(`${namespace}~.demo.speeches`);
      expect(versions.map(({ tags }) => tags['trainyard.source_key'])).toEqual([JOB]);
      expect(versions[0]?.source).toBe(`trainyard:/artifacts/demo/${JOB}/model-e1/manifest.json`);
    },
  );

  test('for ten minutes: upload_artifacts waits, sends the files once, and records the whole curve', async () => {
    const namespace = `t${randomBytes(6).toString('hex')}`;
    const { platform } = platformUntil(600_000, namespace);
    const { end } = await runToItsEnd(platform, 'upload_artifacts', {
      jobId: JOB,
      project: 'demo',
      outputFolder: 'out/model-e1',
      params: { learningRate: '0.001' },
    });
    expect(end).toMatchObject({ kind: 'completed' });
    expect(await platform.registry.metrics('demo', `run-${JOB}`)).toHaveLength(50);
    expect(await platform.registry.getRun('demo', `run-${JOB}`)).toMatchObject({ params: { learningRate: '0.001' } });
  });
});
