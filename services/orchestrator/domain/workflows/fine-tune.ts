import type { ActivityOutput } from '#lib/contracts/activities.ts';
import type { FineTuneInput } from '#lib/contracts/jobs.ts';
import { decideGate } from '../gate.ts';
import { outputOf, workflow } from './vocabulary.ts';
import type { WorkflowContext } from './workflow-types.ts';

type Context = WorkflowContext<FineTuneInput>;

/** The answer of a fine-tuning that is a trial. */
export interface TrialResult {
  readonly artifacts: ActivityOutput<'upload_artifacts'>['artifacts'];
  readonly runId: string;
  readonly training: Readonly<Record<string, number>>;
  readonly steps: number;
  readonly data: ActivityOutput<'preprocess_data'>['data'];
  readonly vocabularySize: number;
  readonly workspace: string;
}

const isTrial = ({ input }: Context): boolean => input.purpose === 'trial';
const policyPassed = (context: Context): boolean => evaluationGate(context).passed;

/**
 * Fine-tuning, steps 5 to 12 of the seed's data flow: data on the CPU lane, training and evaluation on the GPU lane, registration
 * only past the evaluation gate. Ends: COMPLETED, EVAL_FAILED, and the ends every workflow has.
 */
export const fineTune = workflow<FineTuneInput>('fine_tune@1', ({ runs, ends }) => ({
  initial: 'validating',
  states: {
    validating: runs('validate_dataset', {
      lane: 'cpu',
      startToClose: '30m',
      input: ({ input }) => ({ dataset: input.dataset }),
      onDone: 'preprocessing',
    }),
    preprocessing: runs('preprocess_data', {
      lane: 'cpu',
      startToClose: '2h',
      input: preprocessing,
      onDone: 'preparing',
    }),
    preparing: runs('prepare_workspace', { lane: 'cpu', startToClose: '1h', input: preparing, onDone: 'training' }),
    training: runs('run_training', { lane: 'gpu', startToClose: '24h', input: training, onDone: 'uploading' }),
    uploading: runs('upload_artifacts', {
      lane: 'cpu',
      startToClose: '2h',
      input: uploading,
      onDone: [{ when: isTrial, to: 'trialDone' }, { to: 'evaluating' }],
    }),
    evaluating: runs('run_evaluation', {
      lane: 'gpu',
      startToClose: '4h',
      input: evaluating,
      onDone: [{ when: policyPassed, to: 'registering' }, { to: 'evalFailed' }],
    }),
    registering: runs('register_model', { lane: 'cpu', startToClose: '30m', input: registering, onDone: 'completed' }),
    completed: ends('COMPLETED', (context) => ({ ...summary(context), model: outputOf(context, 'register_model') })),
    evalFailed: ends('EVAL_FAILED', (context) => ({ ...summary(context), model: null })),
    trialDone: ends('COMPLETED', trialResult),
  },
}));

function data(context: Context) {
  return outputOf(context, 'preprocess_data').data;
}

function preprocessing({ input }: Context) {
  const config = input.spec.preprocessing ?? DEFAULT_PREPROCESSING;
  return input.base.kind === 'model'
    ? { dataset: input.dataset, config, base: input.base.model }
    : { dataset: input.dataset, config };
}

/** The defaults of `PreprocessConfig`; the gateway fills them in, recorded logs may lack the member. */
const DEFAULT_PREPROCESSING = {
  vocabularySize: 1024,
  validationFraction: 0.1,
  minCharacters: 16,
  nearDuplicateThreshold: 0.9,
  seed: 1,
};

function preparing(context: Context) {
  return {
    jobId: context.input.jobId,
    data: data(context),
    base: context.input.base,
  };
}

function training(context: Context) {
  const { jobId, spec, base } = context.input;
  return {
    jobId,
    workspace: outputOf(context, 'prepare_workspace').workspace,
    data: data(context),
    base,
    technique: spec.method,
    spec: {
      hyperparameters: spec.hyperparameters,
      seed: spec.seed,
      ...(spec.lora === undefined ? {} : { lora: spec.lora }),
    },
  };
}

function uploading(context: Context) {
  return {
    jobId: context.input.jobId,
    project: context.input.project,
    outputFolder: outputOf(context, 'run_training').outputFolder,
    params: runParams(context.input),
  };
}

function evaluating(context: Context) {
  return {
    jobId: context.input.jobId,
    workspace: outputOf(context, 'prepare_workspace').workspace,
    data: data(context),
    artifacts: outputOf(context, 'upload_artifacts').artifacts,
    technique: context.input.spec.method,
    base: context.input.base,
    suites: context.input.spec.evaluation.suites,
    samples: context.input.spec.evaluation.samples,
    seed: context.input.spec.seed,
  };
}

function registering(context: Context) {
  const { jobId, project, spec, dataset, base, configDigest, codeCommit } = context.input;
  const upload = outputOf(context, 'upload_artifacts');
  return {
    jobId,
    project,
    name: spec.model.name,
    runId: upload.runId,
    technique: spec.method,
    artifacts: upload.artifacts,
    dataset,
    base,
    configDigest,
    codeCommit,
    report: outputOf(context, 'run_evaluation').report,
    vocabularySize: outputOf(context, 'preprocess_data').vocabularySize,
    ...(context.input.rowManifest === undefined ? {} : { rowManifest: context.input.rowManifest }),
  };
}

/** What the search that a trial belongs to needs to evaluate and register it. */
function trialResult(context: Context): TrialResult {
  const { artifacts, runId } = outputOf(context, 'upload_artifacts');
  const { metrics, steps } = outputOf(context, 'run_training');
  return {
    artifacts,
    runId,
    training: metrics,
    steps,
    data: data(context),
    vocabularySize: outputOf(context, 'preprocess_data').vocabularySize,
    workspace: outputOf(context, 'prepare_workspace').workspace,
  };
}

function evaluationGate(context: Context) {
  return decideGate(context.input.spec.evaluation.policy, outputOf(context, 'run_evaluation').metrics);
}

/** What the job's answer shows whether or not the gate was passed. */
function summary(context: Context) {
  const evaluation = outputOf(context, 'run_evaluation');
  return {
    evaluation: { metrics: evaluation.metrics, gate: evaluationGate(context), report: evaluation.report },
    samples: evaluation.samples,
    artifacts: outputOf(context, 'upload_artifacts').artifacts,
    training: outputOf(context, 'run_training').metrics,
  };
}

/** Parameters of the run as the model registry shows them. */
function runParams(input: FineTuneInput): Record<string, string> {
  const { spec, dataset, base } = input;
  const params: Record<string, string> = {
    method: spec.method,
    dataset: `${dataset.name}/${dataset.version}`,
    base: base.kind === 'model' ? `${base.model.name}/${base.model.version}` : 'random',
    seed: String(spec.seed),
  };
  for (const [name, value] of Object.entries({ ...spec.hyperparameters, ...spec.lora })) params[name] = String(value);
  return params;
}
