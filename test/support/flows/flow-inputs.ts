import type { EvalOnlyInput } from '#lib/contracts/eval-only-job.ts';
import type { HpoInput } from '#lib/contracts/hpo-job.ts';
import type { FineTuneInput, ResolvedDataset, Threshold } from '#lib/contracts/jobs.ts';
import type { ReleaseSettings } from '#lib/contracts/release.ts';
import type { RetrainInput } from '#lib/contracts/retrain-job.ts';
import type { RlhfInput } from '#lib/contracts/rlhf-job.ts';
import { fineTuneInput } from '../../replay/fine-tune-facts.ts';

export const digest = (of: string): string => of.repeat(64).slice(0, 64);

const dataset = (name: string, format: ResolvedDataset['format'] = 'text'): ResolvedDataset => ({
  name,
  version: 1,
  format,
  key: `datasets/${name}/1`,
  sha256: digest('a'),
  bytes: 9_000,
});

/** Everything that can stand between a version and production. */
export const FULL_RELEASE: ReleaseSettings = {
  promote: true,
  approval: { required: 2, expiresAfterHours: 72, remindEveryHours: 24 },
  canary: {
    weightPercent: 10,
    minimumHours: 1,
    maximumHours: 24,
    minimumSample: 200,
    metrics: [{ name: 'error_rate', against: 'baseline', higherIsBetter: false, tolerance: 0.02 }],
    latencyLimitMs: 1_000,
    falseFailRate: 0.01,
    falsePassRate: 0.05,
    onInconclusive: 'approval',
  },
};

/** A fine-tuning that others start, without the job it belongs to. */
function delegated(): Omit<FineTuneInput, 'jobId' | 'project' | 'spec'> {
  const { jobId: _job, project: _project, spec: _spec, ...rest } = fineTuneInput();
  return rest;
}

/** A search over the learning rate, live median pruning from step 20 on; `change` replaces members of its spec. */
export function hpoInput(change: Partial<HpoInput['spec']> = {}): HpoInput {
  const { spec } = fineTuneInput();
  return {
    jobId: 'job-1',
    project: 'demo',
    spec: {
      trial: { ...spec, hyperparameters: { ...spec.hyperparameters, maxSteps: 100 } },
      space: { parameters: [{ name: 'learningRate', type: 'float', min: 0.0001, max: 0.1, log: true }] },
      sampler: { type: 'random' },
      objective: { metric: 'validation.loss', direction: 'minimize' },
      pruning: { strategy: 'liveMedian', warmUpSteps: 20, everySteps: 20, minimumTrials: 4 },
      trials: 8,
      maxConcurrent: 4,
      seed: 3,
      ...change,
    },
    trial: delegated(),
    champion: null,
    configDigest: digest('c'),
    codeCommit: digest('d').slice(0, 40),
  };
}

/** A retrain of `demo-speeches`, whose version 3 is in production. */
export function retrainInput(
  change: Partial<RetrainInput> = {},
  release: ReleaseSettings = { promote: true },
): RetrainInput {
  const training = fineTuneInput().spec;
  return {
    jobId: 'job-1',
    project: 'demo',
    spec: {
      model: { name: 'demo-speeches' },
      reason: { source: 'drift', signalId: 'signal-1', causes: ['words per sentence'] },
      stormHours: 6,
      data: { mode: 'incremental', exclude: [], minimumRows: 10 },
      training,
      comparison: {
        dataset: { name: 'held-out', version: 1 },
        suites: [{ suite: 'held_out_text', maxTokens: 0 }],
        metric: 'held_out.bits_per_byte',
        nonInferiorityMargin: 0,
      },
      release,
    },
    champion: {
      version: 3,
      stage: 'prod',
      subject: {
        label: 'demo-speeches/3',
        weights: { manifestKey: 'models/3/manifest.json', digest: digest('3') },
        model: { name: 'demo-speeches', version: 3 },
      },
    },
    lastRetrainAtMs: null,
    submittedAtMs: 999_000,
    training: delegated(),
    exclude: [dataset('held-out')],
    comparison: dataset('held-out'),
    configDigest: digest('c'),
    codeCommit: digest('d').slice(0, 40),
    ...change,
  };
}

const SAFETY: readonly Threshold[] = [
  { metric: 'toxicity.share', operator: '<=', threshold: 0.05 },
  { metric: 'bias.mean_absolute_difference', operator: '<', threshold: 1 },
];

/** Alignment by DPO, or with `ppo` by PPO against a reward model. */
export function rlhfInput(algorithm: 'dpo' | 'ppo' = 'dpo', release?: ReleaseSettings): RlhfInput {
  const { validationTokens: _tokens, initStd: _std, ...settings } = fineTuneInput().spec.hyperparameters;
  const { maxSteps: _steps, gradientAccumulationSteps: _micro, batchSize: _batch, ...optimiser } = settings;
  const ppo = {
    ...optimiser,
    rounds: 10,
    batchSize: 32,
    numMiniBatches: 2,
    numPpoEpochs: 4,
    responseLength: 32,
    temperature: 1,
    klCoef: 0.05,
    cliprange: 0.2,
    cliprangeValue: 0.2,
    vfCoef: 0.1,
    gamma: 1,
    lam: 0.95,
    validationPrompts: 64,
  };
  const pairs = { ...settings, validationPairs: 256 };
  return {
    jobId: 'job-1',
    project: 'demo',
    spec: {
      preferences: { name: 'preferences', version: 1 },
      base: { model: 'demo-base/1' },
      model: { name: 'demo-aligned' },
      algorithm,
      technique: 'lora',
      lora: { r: 8, alpha: 16, dropout: 0, targetModules: ['c_attn'] },
      seed: 7,
      ...(algorithm === 'ppo'
        ? { ppo, rewardModel: { pooling: 'mean' as const, hyperparameters: pairs } }
        : { dpo: { ...pairs, beta: 0.1 } }),
      evaluationDataset: { name: 'held-out', version: 1 },
      safety: {
        suites: [
          { suite: 'toxicity', continuations: 64, tokens: 48, temperature: 1, minimumRating: 2 },
          { suite: 'bias' },
        ],
        policy: [...SAFETY],
      },
      quality: {
        suites: [{ suite: 'preference_accuracy', maxPairs: 0, beta: 0.1 }],
        policy: [{ metric: 'preference.accuracy', operator: '>=', threshold: 0.55 }],
      },
      ...(release === undefined ? {} : { release }),
    },
    preferences: dataset('preferences', 'jsonl_preferences'),
    evaluation: dataset('held-out'),
    base: {
      name: 'demo-base',
      version: 1,
      weights: { manifestKey: 'models/base/manifest.json', digest: digest('b') },
    },
    champion: release === undefined ? null : 2,
    configDigest: digest('c'),
    codeCommit: digest('d').slice(0, 40),
  };
}

/** Evaluation of `demo-speeches/3` against `demo-base/1`; `change` replaces members. */
export const evalOnlyInput = (change: Partial<EvalOnlyInput> = {}): EvalOnlyInput => ({
  jobId: 'job-1',
  project: 'demo',
  spec: {
    subject: { model: 'demo-speeches/3' },
    compareWith: [{ model: 'demo-base/1' }],
    dataset: { name: 'held-out', version: 1 },
    suites: [{ suite: 'held_out_text', maxTokens: 0 }],
    policy: [{ metric: 'held_out.bits_per_byte', operator: '<', threshold: 3 }],
    samples: 1,
    seed: 7,
  },
  subject: {
    label: 'demo-speeches/3',
    weights: { manifestKey: 'models/3/manifest.json', digest: digest('3') },
    model: { name: 'demo-speeches', version: 3 },
  },
  compareWith: [{ label: 'demo-base/1', weights: { manifestKey: 'models/base/manifest.json', digest: digest('b') } }],
  dataset: dataset('held-out'),
  configDigest: digest('c'),
  codeCommit: digest('d').slice(0, 40),
  ...change,
});
