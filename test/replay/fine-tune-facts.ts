import type { ActivityOutput, FineTuneActivity } from '#lib/contracts/activities.ts';
import type { FineTuneInput, Threshold } from '#lib/contracts/jobs.ts';
import type { Fact } from '../../services/orchestrator/domain/facts.ts';
import { PROFILES } from '../../services/orchestrator/domain/workflows/registry.ts';

const digest = (of: string): string => of.repeat(64).slice(0, 64);

const POLICY: readonly Threshold[] = [
  { metric: 'held_out.bits_per_byte', operator: '<', threshold: 3 },
  { metric: 'held_out.bits_per_byte', operator: '<=', threshold: 0, relativeTo: 'base' },
];

/** Input of a LoRA job on a registered base, with every member that the machine reads. */
export const fineTuneInput = (policy: readonly Threshold[] = POLICY): FineTuneInput => ({
  jobId: 'job-1',
  project: 'demo',
  spec: {
    dataset: { name: 'speeches', version: 2 },
    base: { model: 'demo-base/1' },
    method: 'lora',
    model: { name: 'demo-speeches' },
    hyperparameters: {
      maxSteps: 200,
      batchSize: 8,
      sequenceLength: 64,
      gradientAccumulationSteps: 1,
      learningRate: 0.001,
      warmupSteps: 20,
      minLearningRateRatio: 0.1,
      weightDecay: 0.1,
      beta1: 0.9,
      beta2: 0.99,
      gradientClip: 1,
      initStd: 0.06,
      checkpointEverySteps: 50,
      evaluateEverySteps: 100,
      validationTokens: 8192,
    },
    lora: { r: 8, alpha: 16, dropout: 0, targetModules: ['c_attn'] },
    seed: 7,
    evaluation: { suites: [{ suite: 'held_out_text', maxTokens: 0 }], policy: [...policy], samples: 1 },
  },
  dataset: {
    name: 'speeches',
    version: 2,
    format: 'text',
    key: 'datasets/speeches/2',
    sha256: digest('a'),
    bytes: 9000,
  },
  base: {
    kind: 'model',
    model: {
      name: 'demo-base',
      version: 1,
      weights: { manifestKey: 'models/base/manifest.json', digest: digest('b') },
    },
  },
  configDigest: digest('c'),
  codeCommit: digest('d').slice(0, 40),
});

/** A plausible output of every activity. */
export const OUTPUTS: { readonly [A in FineTuneActivity]: ActivityOutput<A> } = {
  validate_dataset: { format: 'text', documents: 40, bytes: 9000, sha256: digest('a') },
  preprocess_data: {
    data: { manifestKey: 'data/job-1/manifest.json', digest: digest('e') },
    vocabularySize: 1024,
    trainTokens: 3000,
    validationTokens: 300,
    documents: { in: 40, train: 36, validation: 4 },
  },
  prepare_workspace: { workspace: 'jobs/job-1', bytes: 12_000, files: 5 },
  run_training: {
    outputFolder: 'jobs/job-1/output-e1',
    steps: 200,
    metrics: { 'train.loss': 3.25 },
    resumedFromStep: null,
    damagedCheckpoints: [],
  },
  upload_artifacts: {
    artifacts: { manifestKey: 'artifacts/job-1/manifest.json', digest: digest('f') },
    runId: 'run-1',
    files: [{ path: 'adapter.safetensors', bytes: 1234, sha256: digest('1') }],
    uploadedFiles: 1,
    uploadedBytes: 1234,
  },
  run_evaluation: {
    report: { key: 'reports/job-1.json', digest: digest('2') },
    metrics: [
      {
        name: 'held_out.bits_per_byte',
        value: 2.5,
        standardError: 0.05,
        higherIsBetter: false,
        count: 30,
        baselineValue: 2.75,
        delta: -0.25,
        deltaStandardError: 0.03,
      },
    ],
    samples: [{ prompt: 'My fellow', text: ' citizens' }],
  },
  register_model: { name: 'demo-speeches', version: 1, stage: 'dev', lineage: { job: 'job-1' } },
};

/** The seven activities in the order of the flow, with the state that waits for each. */
export const FLOW = [
  ['validating', 'validate_dataset'],
  ['preprocessing', 'preprocess_data'],
  ['preparing', 'prepare_workspace'],
  ['training', 'run_training'],
  ['uploading', 'upload_artifacts'],
  ['evaluating', 'run_evaluation'],
  ['registering', 'register_model'],
] as const satisfies readonly (readonly [string, FineTuneActivity])[];

export const workflowStarted = (policy?: readonly Threshold[]): Fact => ({
  type: 'WorkflowStarted',
  data: {
    jobId: 'job-1',
    project: 'demo',
    jobType: 'fine_tune',
    definition: 'fine_tune@1',
    priority: 1,
    submittedAtMs: 999_000,
    retry: PROFILES.fine_tune.retry,
    executionTimeoutMs: PROFILES.fine_tune.executionTimeoutMs,
    input: fineTuneInput(policy),
  },
});

export const activityStarted = (activityId: FineTuneActivity, epoch: number, startedAtMs: number): Fact => ({
  type: 'ActivityStarted',
  data: { activityId, epoch, workerId: 'w1', incarnation: 'i1', startedAtMs },
});

export function activityCompleted<A extends FineTuneActivity>(
  activityId: A,
  options: { epoch?: number; startedAtMs?: number; output?: Partial<ActivityOutput<A>> } = {},
): Fact {
  const output = { ...OUTPUTS[activityId], ...options.output };
  const { epoch = 1, startedAtMs = 0 } = options;
  return { type: 'ActivityCompleted', data: { activityId, epoch, workerId: 'w1', startedAtMs, output } };
}

export const activityFailed = (activityId: FineTuneActivity, epoch: number, retryable = true): Fact => ({
  type: 'ActivityFailed',
  data: {
    activityId,
    epoch,
    workerId: 'w1',
    startedAtMs: 0,
    code: 'TrainerFailed',
    message: 'it broke',
    retryable,
    logTail: ['a', 'b'],
  },
});

export const checkpointSaved = (step: number, epoch: number): Fact => ({
  type: 'CheckpointSaved',
  data: { activityId: 'run_training', epoch, step, manifestKey: `checkpoints/e${epoch}/${step}`, digest: digest('9') },
});

export const leaseEnded = (
  activityId: FineTuneActivity,
  epoch: number,
  reason: 'lost' | 'stalled' | 'timed_out' | 'not_started',
): Fact => ({
  type: 'LeaseEnded',
  data: { activityId, epoch, reason },
});

export const cancelRequested: Fact = {
  type: 'CancelRequested',
  data: { requestedBy: 'key-1', reason: 'no longer needed' },
};
export const executionTimedOut: Fact = { type: 'ExecutionTimedOut', data: {} };

/** The facts up to the state that waits for `activity`; all of them when it is null. */
export function upTo(activity: FineTuneActivity | null, policy?: readonly Threshold[]): Fact[] {
  const facts = [workflowStarted(policy)];
  for (const [, name] of FLOW) {
    if (name === activity) break;
    facts.push(activityCompleted(name));
  }
  return facts;
}
