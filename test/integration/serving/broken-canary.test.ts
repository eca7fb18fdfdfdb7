import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { decodeMessage } from '#lib/contracts/envelope.ts';
import type { SignalWorkflow } from '#lib/contracts/generated/messages.ts';
import { LINEAGE, newVersion } from '#lib/model-registry/model-registry-harness.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import { createLogger } from '#lib/service/logger.ts';
import { createMetrics } from '#lib/service/metrics.ts';
import { freePort } from '../../../cli/start/local-ports.ts';
import { runCanaryWatch } from '../../../services/drift-monitor/adapters/run-canary-watch.ts';
import { openInferenceDoor } from '../../../services/gpu-worker/adapters/inference-door.ts';
import { ServingProcess } from '../../../services/gpu-worker/adapters/serving-process.ts';
import { ServedFolders } from '../../../services/gpu-worker/app/served-folders.ts';
import { writeTinyModel } from '../../../services/gpu-worker/serving/test-support/tiny-model.ts';
import { codec } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';
import { type Harness, startGateway } from '../gateway/gateway-harness.ts';
import { childEnvironment } from '../../support/child-environment.ts';

let gateway: Harness;
let key: string;
let folder: string;
const ends: (() => unknown)[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trainyard-canary-'));
  const port = await freePort();
  gateway = await startGateway({}, { url: `http://127.0.0.1:${port}` });
  key = (await gateway.project('one')).admin;
  const log = createLogger({ service: 'test', level: 'silent' });
  const { objects: store, registry } = gateway;
  const platform = { store, registry, workspaceDir: join(folder, 'workspace'), workspaceMarginBytes: 0, log };
  const serving = new ServingProcess({
    environment: childEnvironment(),
    models: 2,
    threads: 1,
    idleMs: 60_000,
  });
  const folders = new ServedFolders(platform);
  const door = await openInferenceDoor({ host: '127.0.0.1', port, token: null, folders, process: serving, log });
  ends.push(
    () => door.close(),
    () => serving.close(),
  );
  await register();
  const stop = new AbortController();
  const metrics = createMetrics('drift-monitor');
  ends.unshift(() => stop.abort());
  const service = {
    logger: log,
    metrics,
    signal: stop.signal,
    onStop: (_what: string, end: () => unknown) => void ends.splice(1, 0, end),
    fail: (error: unknown) => expect.unreachable(String(error)),
  };
  await runCanaryWatch(service, gateway.database, gateway.bus, codec);
});
afterAll(async () => {
  for (const end of ends) await end();
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

/** Version 1 answers; version 2 is an adapter that somebody registered as a model: it cannot be loaded. */
async function register(): Promise<void> {
  const { dir, adapterDir } = await writeTinyModel(folder);
  for (const [at, from] of [dir, adapterDir].entries()) {
    const createdBy = { jobId: `job-${at}`, activity: 'run_training', epoch: 1 };
    const { manifestKey, digest } = await uploadFolder(gateway.objects, from, `artifacts/one/${at}`, { createdBy });
    const lineage = { ...LINEAGE, manifestDigest: digest };
    const tags = {};
    await gateway.registry.createVersion(
      newVersion('tales', `job-${at}`, { project: 'one', manifestKey, lineage, tags }),
    );
  }
}

it('a canary that cannot answer is failed by the traffic it gets, while its baseline goes on answering', async () => {
  await gateway.call('/v1/models/tales/versions/1/promote', { key, body: { stage: 'prod' } });
  await gateway.database.query(
    `select traffic_split_start(array['one'], array['tales'], array[2], array[1], array[50::float8], array['job-c'], array['wf-c'],
       array[$1::jsonb], array[$2::bigint])`,
    [JSON.stringify({ minimumHours: 0, maximumHours: 0.02, minimumSample: 10 }), Date.now()],
  );
  const commands = await gateway.bus.subscribe({
    groupId: 'commands',
    topics: ['orchestrator.commands'],
    from: 'beginning',
  });
  const seen = { canary: new Set<number>(), baseline: new Set<number>() };
  const signal = await eventually(
    async () => {
      for (let i = 0; i < 20; i++) {
        const { status, headers } = await gateway.call('/v1/models/tales/completions', {
          key,
          body: { prompt: 'Call me', maxTokens: 2 },
        });
        if (status === 502) seen.canary.add(status);
        else if (headers['x-model-arm'] === 'baseline') seen.baseline.add(status);
      }
      const [received] = await commands.poll({ maxMessages: 10, maxWaitMs: 0 });
      const decoded = received === undefined ? null : decodeMessage(codec, received);
      return decoded?.ok === true ? (decoded.message.payload as SignalWorkflow) : false;
    },
    { withinMs: 30_000 },
  );
  await commands.close();
  expect(signal).toMatchObject({ workflowId: 'wf-c', signal: 'canary.verdict' });
  expect(JSON.parse(signal.dataJson)).toMatchObject({
    outcome: 'fail',
    reports: [{ metric: 'error_rate', standing: 'Harmful', canaryMean: 1, baselineMean: 0 }],
  });
  expect([[...seen.canary], [...seen.baseline]]).toEqual([[502], [200]]);
  const traffic = await gateway.call('/v1/models/tales/traffic', { key });
  expect(traffic.body).toMatchObject({ prodVersion: 1, split: { jobId: 'job-c', watch: { outcome: 'fail' } } });
});
