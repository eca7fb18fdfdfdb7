import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Value } from '#typebox/value';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ACTIVITIES, type ActivityInput, type ActivityName, type ActivityOutput } from '#lib/contracts/activities.ts';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { PostgresModelRegistry } from '#lib/model-registry/postgres-registry.ts';
import { FileObjectStore } from '#lib/object-store/file-store.ts';
import { decideImprovement } from '#lib/statistics/improvement.ts';
import type { Activity } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { cpuActivities } from '../../../services/cpu-worker/app/activities.ts';
import { startTrainer } from '../../../services/gpu-worker/adapters/trainer-process.ts';
import { gpuActivities } from '../../../services/gpu-worker/app/activities.ts';
import { SlotPool } from '../../../services/gpu-worker/app/slot-pool.ts';
import { chainDocuments } from '../../../services/gpu-worker/trainer/test-support/dataset.ts';
import { sftSpec } from '../../../services/gpu-worker/trainer/test-support/specs.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const MAIN = resolve(import.meta.dirname, '../../../services/gpu-worker/trainer/main.ts');
const PROJECT = 'demo';

let db: TestDatabase;
let registry: PostgresModelRegistry;
let root: string;
let store: FileObjectStore;
let activities: Record<string, Activity>;

beforeAll(async () => {
  db = await createTestDatabase();
  registry = new PostgresModelRegistry(db.database);
  root = await mkdtemp(join(tmpdir(), 'trainyard-retrain-'));
  store = new FileObjectStore({ root: join(root, 'objects') });
  const platform: Omit<WorkerPlatform, 'log'> = {
    store,
    registry,
    workspaceDir: join(root, 'workspace'),
    workspaceMarginBytes: 0,
  };
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const worker = { ...platform, log } as unknown as WorkerPlatform;
  activities = {
    ...cpuActivities(worker, { stages: () => Promise.resolve(new Map()) }),
    ...gpuActivities({
      ...worker,
      startTrainer: (specPath, environment, onMessage) =>
        startTrainer([process.execPath, MAIN], specPath, { environment: { ...environment }, onMessage }),
      slots: new SlotPool([], 2),
      limits: { maxMemoryMib: 0, threads: 1 },
      yieldTimeoutMs: 20_000,
    }),
  };
});

afterAll(async () => {
  await db.drop();
  await rm(root, { recursive: true, force: true });
});

/** One attempt through the schemas, as a worker runs it. */
async function run<A extends ActivityName>(
  jobId: string,
  name: A,
  input: ActivityInput<A>,
): Promise<ActivityOutput<A>> {
  const activity = activities[name];
  if (activity === undefined) throw new Error(`no activity ${name}`);
  expect(Value.Errors(ACTIVITIES[name].input, input)).toEqual([]);
  const output = await activity.run({
    workflowId: `wf-${jobId}`,
    activityId: name,
    epoch: 1,
    jobId,
    project: PROJECT,
    input,
    resume: null,
    signal: new AbortController().signal,
    progress: () => undefined,
    metrics: () => undefined,
    checkpointSaved: () => undefined,
  });
  expect(Value.Errors(ACTIVITIES[name].output, output)).toEqual([]);
  return output as ActivityOutput<A>;
}

async function uploaded(name: string, texts: readonly string[]): Promise<ResolvedDataset> {
  const body = Buffer.from(texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  const sha256 = createHash('sha256').update(body).digest('hex');
  const { key } = await store.put(`datasets/${PROJECT}/${name}/${sha256}`, body);
  return { name, version: 1, format: 'jsonl_text', key, sha256, bytes: body.length };
}

type Base = ActivityInput<'run_training'>['base'];
type Assembled = ActivityOutput<'assemble_training_data'>;

/** The steps of `fine_tune` on assembled data, as its workflow asks for them. */
async function fineTuned(jobId: string, assembled: Assembled, base: Base, maxSteps: number) {
  const { dataset, rowManifest } = assembled;
  const config = Value.Parse(PreprocessConfig, Value.Default(PreprocessConfig, { vocabularySize: 320 }));
  const { data, vocabularySize } = await run(jobId, 'preprocess_data', {
    dataset,
    config,
    ...(base.kind === 'model' ? { base: base.model } : {}),
  });
  const { workspace } = await run(jobId, 'prepare_workspace', { jobId, data, base });
  const { hyperparameters } = sftSpec('', '', { hyperparameters: { maxSteps } });
  const technique = 'full';
  const spec = { hyperparameters, seed: 1 };
  const { outputFolder } = await run(jobId, 'run_training', { jobId, workspace, data, base, technique, spec });
  const stored = await run(jobId, 'upload_artifacts', { jobId, project: PROJECT, outputFolder, params: {} });
  const { artifacts, runId } = stored;
  const suites = [{ suite: 'held_out_text', maxTokens: 0 } as const];
  const evaluating = { jobId, workspace, data, artifacts, technique, base, suites, samples: 0, seed: 1 } as const;
  const { report } = await run(jobId, 'run_evaluation', { ...evaluating, suites });
  const registered = await run(jobId, 'register_model', {
    jobId,
    project: PROJECT,
    name: 'chains',
    runId,
    technique,
    artifacts,
    dataset,
    base,
    configDigest: 'c'.repeat(64),
    codeCommit: '0123abc',
    report,
    rowManifest,
    vocabularySize,
  });
  return { artifacts, version: registered.version };
}

test('a retrain takes new rows only, is compared with the model in production on rows that neither saw, and the report hangs on it', async () => {
  // 1. Production: trained briefly on old rows, of which some are in the comparison set by mistake.
  const comparison = await uploaded('held-out', texts(60, 11));
  const old = await uploaded('chains', [...texts(120, 2), ...texts(10, 11)]);
  const full = { jobId: 'first', project: PROJECT, dataset: old, mode: 'full', minimumRows: 1, former: null } as const;
  const first = await run('first', 'assemble_training_data', { ...full, exclude: [comparison] });
  expect(first).toMatchObject({ rows: 120, excludedRows: 10, knownRows: 0 });
  const random: Base = {
    kind: 'config',
    config: { layers: 1, heads: 2, embeddingSize: 32, contextLength: 32 },
  };
  const champion = await fineTuned('first', first, random, 20);
  // 2. More rows have come: only those are new to it.
  const grown = await uploaded('chains', [...texts(120, 2), ...texts(10, 11), ...texts(150, 5)]);
  const former = { name: 'chains', version: champion.version };
  const second = await run('second', 'assemble_training_data', {
    jobId: 'second',
    project: PROJECT,
    dataset: grown,
    mode: 'incremental',
    minimumRows: 100,
    exclude: [comparison],
    former,
  });
  expect(second).toMatchObject({ rows: 150, excludedRows: 10, knownRows: 120 });
  const base: Base = {
    kind: 'model',
    model: { name: 'chains', version: champion.version, weights: champion.artifacts },
  };
  const challenger = await fineTuned('second', second, base, 150);
  expect(challenger.version).toBe(2);
  // 3. Both on the same items.
  const subject = (of: { artifacts: typeof champion.artifacts; version: number }) => ({
    label: `chains/${of.version}`,
    weights: of.artifacts,
    model: { name: 'chains', version: of.version },
  });
  const compared = await run('second', 'compare_with_champion', {
    jobId: 'second',
    subject: subject(challenger),
    compareWith: [subject(champion)],
    dataset: comparison,
    suites: [{ suite: 'held_out_text', maxTokens: 0 }],
    samples: 1,
    seed: 1,
  });
  const loss = compared.metrics.find(({ name }) => name === 'held_out.loss');
  expect(decideImprovement(loss, { nonInferiorityMargin: 0 })).toMatchObject({ better: true, reason: 'Better' });
  // 4. The report is named by the version that the registry answers with.
  const { report, markdown } = compared;
  await run('second', 'attach_report', { jobId: 'second', model: { name: 'chains', version: 2 }, report, markdown });
  const version = await registry.getVersion(PROJECT, 'chains', 2);
  expect(version?.tags).toMatchObject({
    'trainyard.report.second': report.digest,
    'trainyard.reportKey.second': report.key,
    'trainyard.datasetKey': second.dataset.key,
    'trainyard.rowManifestKey': second.rowManifest.key,
    'trainyard.rowManifestDigest': second.rowManifest.digest,
  });
  expect(version?.lineage.datasetDigest).toBe(second.dataset.sha256);
  // 5. A model against itself is never better.
  const itself = await run('third', 'compare_with_champion', {
    jobId: 'third',
    subject: subject(challenger),
    compareWith: [subject(challenger)],
    dataset: comparison,
    suites: [{ suite: 'held_out_text', maxTokens: 0 }],
    samples: 0,
    seed: 1,
  });
  for (const metric of itself.metrics)
    expect(decideImprovement(metric, { nonInferiorityMargin: 0 }).better).toBe(false);
});

const texts = (count: number, seed: number): string[] => chainDocuments(count, seed).map(({ text }) => text);
