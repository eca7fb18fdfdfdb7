import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Value } from '#typebox/value';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainingRun } from '#lib/contracts/training-run.ts';
import { FileObjectStore } from '#lib/object-store/file-store.ts';
import { downloadFolder, readManifest, uploadFolder } from '#lib/object-store/manifest.ts';
import { type Activity, type ActivityContext, YieldedError } from '#lib/worker/activity.ts';
import { startTrainer } from '../adapters/trainer-process.ts';
import {
  type AlignmentWorld,
  alignmentWorld,
  dpoSpec,
  ppoSpec,
  rewardSpec,
} from '../trainer/test-support/alignment.ts';
import { gpuActivities } from './activities.ts';
import { SlotPool } from './slot-pool.ts';
import type { GpuPlatform } from './trainer-run.ts';

const MAIN = fileURLToPath(new URL('../trainer/main.ts', import.meta.url));
type Stored = { readonly manifestKey: string; readonly digest: string };
type Trained = ActivityOutput<'run_alignment_training'>;
type Name = 'train_reward_model' | 'run_alignment_training';

let root: string;
let store: FileObjectStore;
let activities: Record<string, Activity>;
let world: AlignmentWorld;
let pairs: Stored;
let prompts: Stored;
let base: ActivityInput<'train_reward_model'>['base'];
let rewardModel: Trained;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'trainyard-alignment-'));
  store = new FileObjectStore({ root: join(root, 'objects') });
  world = await alignmentWorld(join(root, 'world'));
  pairs = await stored('pairs', world.preferencesDir);
  prompts = await stored('prompts', world.promptsDir);
  base = { name: 'base', version: 1, weights: await stored('base', world.baseDir) };
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const platform: Omit<GpuPlatform, 'log' | 'registry'> = {
    store,
    workspaceDir: join(root, 'workspace'),
    workspaceMarginBytes: 0,
    startTrainer: (specPath, environment, onMessage) =>
      startTrainer([process.execPath, MAIN], specPath, { environment: { ...environment, PATH: '' }, onMessage }),
    slots: new SlotPool([], 4),
    limits: { maxMemoryMib: 0, threads: 1 },
    yieldTimeoutMs: 20_000,
  };
  // This lane asks no registry.
  activities = gpuActivities({ ...platform, log } as unknown as GpuPlatform);
  rewardModel = await run('train_reward_model', 'job-reward', rewardInput('job-reward'));
});

afterAll(() => rm(root, { recursive: true, force: true }));

async function stored(prefix: string, folder: string): Promise<Stored> {
  const { manifestKey, digest } = await uploadFolder(store, folder, prefix, {
    createdBy: { jobId: 'earlier', activity: 'a', epoch: 1 },
  });
  return { manifestKey, digest };
}

const unused = { folder: '' };
const PAIR_SETTINGS = { maxSteps: 240, checkpointEverySteps: 20, evaluateEverySteps: 60 };

const rewardInput = (jobId: string): ActivityInput<'train_reward_model'> => ({
  jobId,
  project: 'demo',
  base,
  pairs,
  settings: {
    pooling: 'mean',
    hyperparameters: rewardSpec(unused.folder, world, { hyperparameters: { ...PAIR_SETTINGS, maxSteps: 60 } })
      .hyperparameters,
  },
  seed: 1,
});

const dpoInput = (jobId: string): ActivityInput<'run_alignment_training'> => ({
  jobId,
  project: 'demo',
  base,
  algorithm: 'dpo',
  technique: 'full',
  dpo: dpoSpec(unused.folder, world, { hyperparameters: PAIR_SETTINGS }).hyperparameters,
  pairs,
  prompts,
  seed: 1,
});

const ppoInput = (jobId: string): ActivityInput<'run_alignment_training'> => {
  const { dpo: _, ...common } = dpoInput(jobId);
  const hyperparameters = { rounds: 24, checkpointEverySteps: 5 };
  return {
    ...common,
    algorithm: 'ppo',
    technique: 'lora',
    lora: { r: 4, alpha: 8, dropout: 0, targetModules: ['c_attn', 'c_proj', 'c_fc'] },
    ppo: ppoSpec(unused.folder, { ...world, rewardModelDir: '' }, { hyperparameters }).hyperparameters,
    rewardModel: rewardModel.artifacts,
  };
};

interface Attempt {
  readonly epoch?: number;
  /** Told of every stored checkpoint. */
  readonly onCheckpoint?: (step: number, abort: AbortController) => void;
}

/** One attempt through the schemas, as a worker runs it. */
async function run(name: Name, jobId: string, input: unknown, attempt: Attempt = {}): Promise<Trained> {
  const activity = activities[name];
  if (activity?.input === undefined || activity.output === undefined) throw new Error(`no activity ${name}`);
  if (!Value.Check(activity.input, input)) throw new Error(JSON.stringify(Value.Errors(activity.input, input)));
  const abort = new AbortController();
  const context: ActivityContext = {
    workflowId: 'w',
    activityId: name,
    epoch: attempt.epoch ?? 1,
    jobId,
    project: 'demo',
    input,
    resume: null,
    signal: abort.signal,
    progress: () => undefined,
    metrics: () => undefined,
    checkpointSaved: ({ step }) => attempt.onCheckpoint?.(step, abort),
  };
  const output = await activity.run(context);
  expect(Value.Errors(activity.output, output)).toEqual([]);
  return output as Trained;
}

/** The curve of a result, each point once; the last value counts. */
async function curveOf({ artifacts }: Trained): Promise<Map<string, number>> {
  const text = (await fileOf(artifacts, 'trainyard-curve.jsonl')).toString('utf8');
  const points = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; step: number; value: number });
  return new Map(points.map(({ name, step, value }) => [`${name} ${step}`, value]));
}

async function fileOf({ manifestKey, digest }: Stored, path: string): Promise<Buffer> {
  const { files } = await readManifest(store, manifestKey, { expectedDigest: digest });
  return store.get(files.find((file) => file.path === path)?.key ?? `no ${path}`);
}

/** What training computed: everything but the record of the attempt. */
const weightsOf = ({ files }: Trained) => files.filter(({ path }) => !path.startsWith('trainyard-'));

describe('train_reward_model', () => {
  test('stores the model, its head, the tokenizer of the pairs, and what the registry is to know', async () => {
    expect(rewardModel).toMatchObject({ runId: 'run-job-reward-reward', steps: 60, resumedFromStep: null });
    expect(rewardModel.artifacts.manifestKey).toBe('artifacts/demo/job-reward/train_reward_model-e1/manifest.json');
    expect(rewardModel.metrics['validation.accuracy']).toBeGreaterThan(0.9);
    expect(rewardModel.files.map(({ path }) => path).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'reward_config.json',
      'reward_head.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
      'trainyard-curve.jsonl',
      'trainyard-run.json',
    ]);
    const tokenizer = (await fileOf(rewardModel.artifacts, 'tokenizer.json')).toString('utf8');
    expect(tokenizer).toBe(world.dataset.tokenizerJson);
    const record: unknown = JSON.parse((await fileOf(rewardModel.artifacts, 'trainyard-run.json')).toString('utf8'));
    expect(Value.Check(TrainingRun, record)).toBe(true);
    expect(record).toMatchObject({ method: 'reward', epoch: 1, params: { pooling: 'mean', maxSteps: '60' } });
    expect([...(await curveOf(rewardModel)).keys()]).toContain('validation.accuracy 60');
  });
});

describe('an alignment training that is interrupted ends as if nothing had happened', () => {
  const cases = { dpo: dpoInput, ppo: ppoInput };

  test.each(Object.keys(cases) as (keyof typeof cases)[])(
    '%s, killed after a checkpoint and then asked to stop',
    async (algorithm) => {
      const inputOf = cases[algorithm];
      const whole = await run('run_alignment_training', `${algorithm}-whole`, inputOf(`${algorithm}-whole`));
      expect(whole.resumedFromStep).toBeNull();

      const jobId = `${algorithm}-interrupted`;
      // 1. The lease is lost: the program is killed where it is.
      let saved = 0;
      const killed = run('run_alignment_training', jobId, inputOf(jobId), {
        onCheckpoint: (step, abort) => {
          saved = step;
          abort.abort('Revoked');
        },
      });
      await expect(killed).rejects.toMatchObject({ name: 'ActivityError' });
      expect(saved).toBeGreaterThan(0);
      expect(saved).toBeLessThan(whole.steps);
      // 2. The worker stops: the program saves a checkpoint of its own, and the attempt yields.
      let newest = 0;
      const yielded: unknown = await run('run_alignment_training', jobId, inputOf(jobId), {
        epoch: 2,
        onCheckpoint: (step, abort) => {
          newest = step;
          abort.abort('WorkerStopping');
        },
      }).catch((error: unknown) => error);
      expect(yielded).toBeInstanceOf(YieldedError);
      expect((yielded as YieldedError).step).toBe(newest);
      expect(newest).toBeGreaterThan(saved);
      // 3. The third attempt ends, on a node that has none of the files.
      await rm(join(root, 'workspace', 'jobs', jobId), { recursive: true });
      const ended = await run('run_alignment_training', jobId, inputOf(jobId), { epoch: 3 });
      expect(ended).toMatchObject({ resumedFromStep: newest, damagedCheckpoints: [], steps: whole.steps });
      expect(ended.artifacts.manifestKey).toBe(`artifacts/demo/${jobId}/run_alignment_training-e3/manifest.json`);
      expect(weightsOf(ended)).toEqual(weightsOf(whole));
      expect(await curveOf(ended)).toEqual(await curveOf(whole));
      expect(ended.metrics).toEqual(whole.metrics);
    },
  );
});

describe('run_alignment_training', () => {
  test('stores an adapter for lora, which a later training of the base takes as it is', async () => {
    const whole = await run('run_alignment_training', 'adapter', ppoInput('adapter'));
    expect(whole.files.map(({ path }) => path)).toContain('adapter_model.safetensors');
    expect(whole.files.map(({ path }) => path)).not.toContain('model.safetensors');
    const dir = join(root, 'adapter');
    await downloadFolder(store, whole.artifacts.manifestKey, dir);
    expect(JSON.parse(await readFile(join(dir, 'adapter_config.json'), 'utf8'))).toMatchObject({ r: 4 });
    const onAdapter = { ...dpoInput('on-adapter'), base: { ...base, adapter: whole.artifacts } };
    const again = await run('run_alignment_training', 'on-adapter', onAdapter);
    expect(again.metrics['validation.rewards/accuracies']).toBeGreaterThan(0.9);
  });

  test('refuses for good what cannot be trained, before anything is fetched', async () => {
    const { rewardModel: _, ...withoutReward } = ppoInput('refused');
    const nowhere = { manifestKey: 'nowhere', digest: '0' };
    for (const input of [
      { ...withoutReward, prompts: nowhere },
      { ...dpoInput('refused'), pairs: nowhere, rewardModel: rewardModel.artifacts },
    ])
      await expect(run('run_alignment_training', 'refused', input)).rejects.toMatchObject({
        code: 'TrainerBadConfig',
        retryable: false,
      });
  });
});
