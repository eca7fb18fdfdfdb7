import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Value } from '#typebox/value';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { PostgresModelRegistry } from '#lib/model-registry/postgres-registry.ts';
import { FileObjectStore } from '#lib/object-store/file-store.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import type { Activity } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { cpuActivities } from '../../../services/cpu-worker/app/activities.ts';
import { startTrainer } from '../../../services/gpu-worker/adapters/trainer-process.ts';
import { gpuActivities } from '../../../services/gpu-worker/app/activities.ts';
import { SlotPool } from '../../../services/gpu-worker/app/slot-pool.ts';
import {
  type AlignmentWorld,
  alignmentWorld,
  dpoSpec,
  ppoSpec,
  rewardSpec,
} from '../../../services/gpu-worker/trainer/test-support/alignment.ts';
import { chainDocuments, chainWords } from '../../../services/gpu-worker/trainer/test-support/dataset.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const MAIN = resolve(import.meta.dirname, '../../../services/gpu-worker/trainer/main.ts');
const PROJECT = 'demo';
const CONFIG = { validationFraction: 0.2, seed: 1 };
const DIGEST = 'c'.repeat(64);

type Stored = { readonly manifestKey: string; readonly digest: string };
type Names = 'validate_preference_data' | 'preprocess_preferences' | 'train_reward_model' | 'run_alignment_training';

let db: TestDatabase;
let registry: PostgresModelRegistry;
let root: string;
let store: FileObjectStore;
let world: AlignmentWorld;
let activities: Record<string, Activity>;
let base: ActivityInput<'train_reward_model'>['base'];
let preferences: ActivityInput<'validate_preference_data'>['preferences'];
let data: ActivityOutput<'preprocess_preferences'>;
let reward: ActivityOutput<'train_reward_model'>;

beforeAll(async () => {
  db = await createTestDatabase();
  registry = new PostgresModelRegistry(db.database);
  root = await mkdtemp(join(tmpdir(), 'trainyard-alignment-'));
  store = new FileObjectStore({ root: join(root, 'objects') });
  world = await alignmentWorld(join(root, 'world'));
  const platform: Omit<WorkerPlatform, 'log'> = { store, registry, workspaceDir: root, workspaceMarginBytes: 0 };
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
  base = { name: 'base', version: 1, weights: await stored('base', world.baseDir) };
  preferences = await preferenceDataset();
  data = await run('preprocess_preferences', { preferences, base, config: CONFIG });
  const { hyperparameters } = rewardSpec('', world, { hyperparameters: { maxSteps: 60 } });
  const settings = { pooling: 'mean', hyperparameters } as const;
  const input = { jobId: 'job-ppo', project: PROJECT, base, pairs: data.pairs, settings, seed: 1 };
  reward = await run('train_reward_model', input);
});

afterAll(async () => {
  await db.drop();
  await rm(root, { recursive: true, force: true });
});

async function stored(prefix: string, folder: string): Promise<Stored> {
  const createdBy = { jobId: 'earlier', activity: 'a', epoch: 1 };
  const { manifestKey, digest } = await uploadFolder(store, folder, prefix, { createdBy });
  return { manifestKey, digest };
}

/** Every second word of the chains is liked: what the base says by chance, the aligned model says on purpose. */
async function preferenceDataset() {
  const random = mulberry32(5);
  const words = chainWords();
  const four = (liked: boolean): string =>
    Array.from({ length: 4 }, () => {
      const from = words.filter((_, at) => (at % 2 === 0) === liked);
      return ` ${from[Math.floor(random.next() * from.length)] ?? ''}`;
    }).join('');
  const prompts = new Set(chainDocuments(200, 5).map(({ text }) => text.split(' ').slice(0, 3).join(' ')));
  const rows = [...prompts].map((prompt) => JSON.stringify({ prompt, chosen: four(true), rejected: four(false) }));
  const body = Buffer.from(rows.join('\n'));
  const sha256 = createHash('sha256').update(body).digest('hex');
  const key = `datasets/${sha256}`;
  await store.put(key, body, { sha256 });
  return { name: 'liked', version: 3, format: 'jsonl_preferences' as const, key, sha256, bytes: body.length };
}

async function run<A extends Names | 'register_aligned_model'>(
  name: A,
  input: ActivityInput<A>,
): Promise<ActivityOutput<A>> {
  const activity = activities[name];
  if (activity?.input === undefined || activity.output === undefined) throw new Error(`no activity ${name}`);
  expect(Value.Errors(activity.input, input)).toEqual([]);
  return (await unchecked(name, input)) as ActivityOutput<A>;
}

async function unchecked(name: string, input: unknown): Promise<unknown> {
  const activity = activities[name];
  const jobId = (input as { jobId?: string }).jobId ?? 'job';
  const output = await activity?.run({
    workflowId: 'w',
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
  expect(Value.Errors(activity?.output ?? {}, output)).toEqual([]);
  return output;
}

async function report(text: string): Promise<{ key: string; digest: string }> {
  const digest = createHash('sha256').update(text).digest('hex');
  const { key } = await store.put(`reports/${digest}.json`, Buffer.from(text), { sha256: digest });
  return { key, digest };
}

async function align(algorithm: 'dpo' | 'ppo', jobId: string) {
  const input = { jobId, project: PROJECT, base, pairs: data.pairs, prompts: data.prompts, seed: 1 };
  if (algorithm === 'dpo') {
    const dpo = dpoSpec('', world, { hyperparameters: { maxSteps: 60, learningRate: 1e-3 } }).hyperparameters;
    return run('run_alignment_training', { ...input, algorithm, technique: 'lora', dpo });
  }
  const settings = { rounds: 12, numPpoEpochs: 4, evaluateEverySteps: 48, klCoef: 0.1 };
  const ppo = ppoSpec('', { ...world, rewardModelDir: '' }, { hyperparameters: settings }).hyperparameters;
  return run('run_alignment_training', {
    ...input,
    algorithm,
    technique: 'full',
    ppo,
    rewardModel: reward.artifacts,
  });
}

async function registration(
  jobId: string,
  trained: ActivityOutput<'run_alignment_training'>,
  technique: 'full' | 'lora',
): Promise<ActivityInput<'register_aligned_model'>> {
  return {
    jobId,
    project: PROJECT,
    name: `aligned-${technique}`,
    runId: trained.runId,
    technique,
    artifacts: trained.artifacts,
    preferences,
    base,
    rewardModel: technique === 'full' ? reward.artifacts : null,
    safetyReport: await report(`safety of ${jobId}`),
    safetyPassed: true,
    qualityReport: await report(`quality of ${jobId}`),
    configDigest: DIGEST,
    codeCommit: 'abc',
    vocabularySize: data.vocabularySize,
  };
}

describe('from rows of preference to a registered version', () => {
  test('ppo: the version names its reward model, its reports and its preferences, and its runs have their curves', async () => {
    const found = await run('validate_preference_data', { preferences, config: CONFIG });
    expect(found).toMatchObject({ trainPairs: data.trainPairs, validationPairs: data.validationPairs, warnings: [] });
    expect(reward.metrics['validation.accuracy']).toBeGreaterThan(0.9);
    const trained = await align('ppo', 'job-ppo');
    const scores = trained.metrics['validation.objective/scores'] ?? Number.NaN;
    const input = await registration('job-ppo', trained, 'full');
    const registered = await run('register_aligned_model', input);
    expect(registered).toMatchObject({ name: 'aligned-full', version: 1, stage: 'dev' });

    const version = await registry.getVersion(PROJECT, 'aligned-full', 1);
    expect(version?.lineage).toEqual({
      jobId: 'job-ppo',
      runId: 'run-job-ppo',
      datasetName: 'liked',
      datasetVersion: '3',
      datasetDigest: preferences.sha256,
      configDigest: DIGEST,
      codeCommit: 'abc',
      baseModelDigest: base.weights.digest,
      evaluationReportDigest: input.qualityReport.digest,
      manifestDigest: trained.artifacts.digest,
      rewardModelDigest: reward.artifacts.digest,
      safetyReportDigest: input.safetyReport.digest,
    });
    expect(registered.lineage).toEqual(version?.lineage);
    expect(version?.tags).toMatchObject({
      technique: 'full',
      'trainyard.method': 'ppo',
      'trainyard.safetyGate': 'passed',
      'trainyard.report.safety': input.safetyReport.digest,
      'trainyard.report.quality': input.qualityReport.digest,
    });
    expect(JSON.parse(version?.tags['architecture'] ?? '')).toMatchObject({ vocabularySize: data.vocabularySize });

    const runs = await Promise.all(['run-job-ppo', 'run-job-ppo-reward'].map((id) => registry.getRun(PROJECT, id)));
    expect(runs).toMatchObject([
      { jobId: 'job-ppo', params: { method: 'ppo', rounds: '12', base: 'base/1', preferences: 'liked/3' } },
      { jobId: 'job-ppo', params: { method: 'reward', maxSteps: '60', pooling: 'mean' } },
    ]);
    const curve = await registry.metrics(PROJECT, 'run-job-ppo');
    const judged = curve.filter(({ name }) => name === 'validation.objective/scores');
    expect(judged).toHaveLength(3);
    expect(judged.at(-1)?.value).toBe(scores);
    // Better than the base by the reward model that it was trained against.
    expect(scores).toBeGreaterThan((judged[0]?.value ?? Number.NaN) + 0.5);

    // However often it runs, one version.
    expect(await run('register_aligned_model', input)).toEqual(registered);
    expect(await registry.listVersions(PROJECT, 'aligned-full', { limit: 10 })).toHaveLength(1);
  });

  test('dpo with adapters: the version says on which model it lies, and names no reward model', async () => {
    const trained = await align('dpo', 'job-dpo');
    expect(trained.metrics['validation.rewards/accuracies']).toBeGreaterThan(0.9);
    await run('register_aligned_model', await registration('job-dpo', trained, 'lora'));
    const version = await registry.getVersion(PROJECT, 'aligned-lora', 1);
    expect(version?.lineage).not.toHaveProperty('rewardModelDigest');
    expect(version?.tags).toMatchObject({
      technique: 'lora',
      adapterOf: 'base/1',
      adapterOfManifestKey: base.weights.manifestKey,
      adapterOfDigest: base.weights.digest,
    });
    expect(await registry.getRun(PROJECT, 'run-job-dpo-reward')).toBeNull();
  });
});

describe('nothing is registered', () => {
  let input: ActivityInput<'register_aligned_model'>;
  beforeAll(async () => {
    input = await registration('job-refused', await align('dpo', 'job-refused'), 'lora');
    input = { ...input, name: 'refused' };
  });

  test.each([
    ['that did not pass the gate', { safetyPassed: false }, 'ValidationFailed'],
    ['that says it passed in other words', { safetyPassed: 'true' }, 'ValidationFailed'],
    ['whose gate nobody asked', { safetyPassed: undefined }, 'ValidationFailed'],
    ['whose safety report is not stored', { safetyReport: { key: 'reports/none', digest: DIGEST } }, 'ObjectNotFound'],
    ['that another job trained', { jobId: 'job-other' }, 'ManifestInvalid'],
    ['of another run', { runId: 'run-other' }, 'ManifestInvalid'],
  ])('%s', async (_, change, code) => {
    await expect(unchecked('register_aligned_model', { ...input, ...change })).rejects.toMatchObject({
      code,
      retryable: false,
    });
    expect(await registry.getVersion(PROJECT, 'refused', 1)).toBeNull();
  });

  test('whose report is another one than was judged', async () => {
    const judged = { ...input.safetyReport, digest: (await report('a better one')).digest };
    const swapped = unchecked('register_aligned_model', { ...input, safetyReport: judged });
    await expect(swapped).rejects.toMatchObject({ code: 'ManifestInvalid' });
    expect(await registry.getVersion(PROJECT, 'refused', 1)).toBeNull();
  });

  test('and the schema of the activity takes nothing but a pass', () => {
    const schema = activities['register_aligned_model']?.input ?? {};
    expect(Value.Check(schema, input)).toBe(true);
    for (const safetyPassed of [false, null, undefined, 1, 'true'])
      expect(Value.Check(schema, { ...input, safetyPassed })).toBe(false);
  });
});
