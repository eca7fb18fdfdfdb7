import { type Static, Type } from '#typebox';
import { ALIGNMENT_ACTIVITIES } from './alignment-activities.ts';
import { EVALUATION_ACTIVITIES } from './evaluation-activities.ts';
import { DatasetFormat, FineTuneSpec, Name, ResolvedDataset, ResolvedModel } from './jobs.ts';
import { PreprocessConfig } from './preprocess-config.ts';
import { RETRAIN_ACTIVITIES } from './retrain-activities.ts';
import { SEARCH_ACTIVITIES } from './search-activities.ts';
import { EvaluationMetric, EvaluationSuite, ModelConfig, Technique } from './trainer-protocol.ts';

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Stored = Type.Object({ manifestKey: Type.String(), digest: Digest });
const Base = Type.Union([
  Type.Object({ kind: Type.Literal('config'), config: ModelConfig }),
  Type.Object({ kind: Type.Literal('model'), model: ResolvedModel }),
]);

const ValidateDataset = {
  input: Type.Object({ dataset: ResolvedDataset }),
  output: Type.Object({
    format: DatasetFormat,
    documents: Type.Integer(),
    bytes: Type.Integer(),
    sha256: Digest,
  }),
};

const PreprocessData = {
  input: Type.Object({
    dataset: ResolvedDataset,
    config: PreprocessConfig,
    /** The base whose tokenizer must be used; absent = train one. */
    base: Type.Optional(ResolvedModel),
  }),
  output: Type.Object({
    data: Stored,
    vocabularySize: Type.Integer(),
    trainTokens: Type.Integer(),
    validationTokens: Type.Integer(),
    /** Documents by fate, e.g. `in`, `exactDuplicates`, `nearDuplicates`, `tooShort`, `train`, `validation`. */
    documents: Type.Record(Type.String(), Type.Integer()),
  }),
};

const PrepareWorkspace = {
  input: Type.Object({ jobId: Type.String(), data: Stored, base: Base }),
  output: Type.Object({
    /** Folder of the job below the workspace root. */
    workspace: Type.String(),
    bytes: Type.Integer(),
    files: Type.Integer(),
  }),
};

const RunTraining = {
  input: Type.Object({
    jobId: Type.String(),
    workspace: Type.String(),
    data: Stored,
    base: Base,
    technique: Technique,
    spec: Type.Pick(FineTuneSpec, ['hyperparameters', 'lora', 'seed']),
  }),
  output: Type.Object({
    /** Folder of the result below the workspace root; it carries the epoch. */
    outputFolder: Type.String(),
    steps: Type.Integer(),
    metrics: Type.Record(Type.String(), Type.Number()),
    /** Step of the checkpoint this attempt resumed from, null when it began at 0. */
    resumedFromStep: Type.Union([Type.Integer(), Type.Null()]),
    /** Newer checkpoints that could not be used, with the reason of each: missing manifest, wrong digest ... */
    damagedCheckpoints: Type.Array(Type.String()),
  }),
};

const UploadArtifacts = {
  input: Type.Object({
    jobId: Type.String(),
    project: Name,
    outputFolder: Type.String(),
    /** Parameters of the run, for the model registry. */
    params: Type.Record(Type.String(), Type.String()),
  }),
  output: Type.Object({
    artifacts: Stored,
    runId: Type.String(),
    files: Type.Array(Type.Object({ path: Type.String(), bytes: Type.Integer(), sha256: Digest })),
    uploadedFiles: Type.Integer(),
    uploadedBytes: Type.Integer(),
  }),
};

const RunEvaluation = {
  input: Type.Object({
    jobId: Type.String(),
    workspace: Type.String(),
    data: Stored,
    artifacts: Stored,
    technique: Technique,
    base: Base,
    suites: Type.Array(EvaluationSuite),
    samples: Type.Integer(),
    seed: Type.Integer(),
  }),
  output: Type.Object({
    report: Type.Object({ key: Type.String(), digest: Digest }),
    metrics: Type.Array(EvaluationMetric),
    samples: Type.Array(Type.Object({ prompt: Type.String(), text: Type.String() })),
  }),
};

const RegisterModel = {
  input: Type.Object({
    jobId: Type.String(),
    project: Name,
    name: Name,
    runId: Type.String(),
    technique: Technique,
    artifacts: Stored,
    dataset: ResolvedDataset,
    base: Base,
    configDigest: Digest,
    codeCommit: Type.String(),
    report: Type.Object({ key: Type.String(), digest: Digest }),
    /** Of `assemble_training_data`: what a later retrain takes for known. */
    rowManifest: Type.Optional(Type.Object({ key: Type.String(), digest: Digest })),
    vocabularySize: Type.Integer(),
  }),
  output: Type.Object({
    name: Name,
    version: Type.Integer({ minimum: 1 }),
    stage: Type.String(),
    lineage: Type.Record(Type.String(), Type.String()),
  }),
};

export const FINE_TUNE_ACTIVITIES = {
  validate_dataset: ValidateDataset,
  preprocess_data: PreprocessData,
  prepare_workspace: PrepareWorkspace,
  run_training: RunTraining,
  upload_artifacts: UploadArtifacts,
  run_evaluation: RunEvaluation,
  register_model: RegisterModel,
} as const;
export type FineTuneActivity = keyof typeof FINE_TUNE_ACTIVITIES;

/** Input and output schema of every activity; the worker checks the one before it runs and the other before it answers. */
export const ACTIVITIES = {
  ...FINE_TUNE_ACTIVITIES,
  ...EVALUATION_ACTIVITIES,
  ...SEARCH_ACTIVITIES,
  /** The best trial of `hpo`, on the validation split that all trials shared. */
  evaluate_best: RunEvaluation,
  ...ALIGNMENT_ACTIVITIES,
  ...RETRAIN_ACTIVITIES,
} as const;

export type ActivityName = keyof typeof ACTIVITIES;
export type ActivityInput<A extends ActivityName> = Static<(typeof ACTIVITIES)[A]['input']>;
export type ActivityOutput<A extends ActivityName> = Static<(typeof ACTIVITIES)[A]['output']>;
