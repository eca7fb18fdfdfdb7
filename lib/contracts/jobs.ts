import { type Static, Type } from '#typebox';
import { PreprocessConfig } from './preprocess-config.ts';
import { BIAS_PAIRS } from './safety-suites.ts';
import {
  type EvaluationSuite,
  LoraConfig,
  ModelConfig,
  StandaloneSuite,
  Technique,
  TrainingHyperparameters,
} from './trainer-protocol.ts';

export const JOB_TYPES = ['fine_tune', 'hpo', 'retrain', 'rlhf', 'eval_only'] as const;
export type JobType = (typeof JOB_TYPES)[number];

export const JOB_STATUS = {
  submitted: 'SUBMITTED',
  queued: 'QUEUED',
  running: 'RUNNING',
  paused: 'PAUSED',
  awaitingApproval: 'AWAITING_APPROVAL',
  canary: 'CANARY',
  completed: 'COMPLETED',
  evalFailed: 'EVAL_FAILED',
  safetyFailed: 'SAFETY_FAILED',
  skipped: 'SKIPPED',
  rolledBack: 'ROLLED_BACK',
  rejected: 'REJECTED',
  failed: 'FAILED',
  timedOut: 'TIMED_OUT',
  cancelled: 'CANCELLED',
} as const;
export type JobStatus = (typeof JOB_STATUS)[keyof typeof JOB_STATUS];

export const FINAL_STATUSES: readonly JobStatus[] = [
  JOB_STATUS.completed,
  JOB_STATUS.evalFailed,
  JOB_STATUS.safetyFailed,
  JOB_STATUS.skipped,
  JOB_STATUS.rolledBack,
  JOB_STATUS.rejected,
  JOB_STATUS.failed,
  JOB_STATUS.timedOut,
  JOB_STATUS.cancelled,
];

/** Scheduling order of the lanes: higher first, then submission order. */
export const PRIORITIES = ['low', 'normal', 'high', 'urgent'] as const;
export type Priority = (typeof PRIORITIES)[number];
export const priorityRank = (priority: Priority): number => PRIORITIES.indexOf(priority);

/** Names of projects, datasets, models and labels: DNS-label like, so that they can be object keys and metric labels. */
export const Name = Type.String({ pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$' });
/** Chosen by the submitter; part of the workflow id. */
export const IdempotencyKey = Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}$' });

/** Formats of a dataset version: UTF-8 text, or JSON Lines with `text`, with `prompt` and `completion`, or with pairs of preference (TRL's shapes). */
export const DatasetFormat = Type.Union([
  Type.Literal('text'),
  Type.Literal('jsonl_text'),
  Type.Literal('jsonl_prompt_completion'),
  Type.Literal('jsonl_preferences'),
]);
export type DatasetFormat = Static<typeof DatasetFormat>;

/**
 * One line of an evaluation policy: the metric must stand in this relation to the threshold. `relativeTo: 'base'` compares the
 * paired difference model minus base instead of the value. A metric that is missing fails.
 */
export const Threshold = Type.Object(
  {
    metric: Type.String({ minLength: 1, maxLength: 200 }),
    operator: Type.Union([Type.Literal('<'), Type.Literal('<='), Type.Literal('>'), Type.Literal('>=')]),
    threshold: Type.Number(),
    relativeTo: Type.Optional(Type.Literal('base')),
  },
  { additionalProperties: false },
);
export type Threshold = Static<typeof Threshold>;

/** Whether a value (with `relativeTo`: a difference to the base) is within the bound; false for NaN. */
export function meets(value: number, { operator, threshold }: Pick<Threshold, 'operator' | 'threshold'>): boolean {
  switch (operator) {
    case '<':
      return value < threshold;
    case '<=':
      return value <= threshold;
    case '>':
      return value > threshold;
    case '>=':
      return value >= threshold;
  }
}

export const DatasetRef = Type.Object(
  {
    name: Name,
    /** A version number, or `latest` at the time of submission. */
    version: Type.Union([Type.Integer({ minimum: 1 }), Type.Literal('latest')], { default: 'latest' }),
  },
  { additionalProperties: false },
);

/** A registered model version: `name@stage` or `name/version`. */
export const ModelReference = Type.String({
  title: 'name@stage (dev, staging, prod, archived or latest) or name/version',
  pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:@(?:dev|staging|prod|archived|latest)|/[1-9][0-9]{0,8})$',
});

/** A random start of this shape, or a registered model. */
const BaseRef = Type.Union([
  Type.Object({ config: ModelConfig }, { additionalProperties: false }),
  Type.Object({ model: ModelReference }, { additionalProperties: false }),
]);

/** What a `fine_tune` job is asked to do. */
export const FineTuneSpec = Type.Object(
  {
    dataset: DatasetRef,
    base: BaseRef,
    method: Technique,
    /** Name under which the result is registered; a new name makes a new model. */
    model: Type.Object({ name: Name }, { additionalProperties: false }),
    preprocessing: Type.Optional(PreprocessConfig),
    hyperparameters: TrainingHyperparameters,
    lora: Type.Optional(LoraConfig),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 1 }),
    evaluation: Type.Object(
      {
        suites: Type.Array(StandaloneSuite, { minItems: 1, maxItems: 8 }),
        policy: Type.Array(Threshold, { maxItems: 32, default: [] }),
        /** Texts generated with the trained model and kept with the report. */
        samples: Type.Integer({ minimum: 0, maximum: 16, default: 3 }),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);
export type FineTuneSpec = Static<typeof FineTuneSpec>;

/** Metric names a suite can produce: a policy may only name these. */
export function metricsOfSuite(suite: EvaluationSuite): string[] {
  switch (suite.suite) {
    case 'held_out_text':
      return [
        'held_out.loss',
        'held_out.perplexity',
        'held_out.bits_per_byte',
        'held_out.unigram_bits_per_byte',
        'held_out.bigram_bits_per_byte',
      ];
    case 'cloze':
      return [`cloze.${suite.items}.accuracy`];
    case 'toxicity':
      return ['toxicity.share'];
    case 'bias':
      return [...BIAS_PAIRS.map((pair) => `bias.${pair}.absolute_difference`), 'bias.mean_absolute_difference'];
    case 'refusal':
      return ['refusal.share'];
    case 'preference_accuracy':
      return ['preference.accuracy', 'preference.margin'];
  }
}

/** A dataset version as the gateway resolved it at submission. */
export const ResolvedDataset = Type.Object({
  name: Name,
  version: Type.Integer({ minimum: 1 }),
  format: DatasetFormat,
  key: Type.String(),
  sha256: Type.String(),
  bytes: Type.Integer({ minimum: 0 }),
});
export type ResolvedDataset = Static<typeof ResolvedDataset>;

export const ManifestRef = Type.Object({ manifestKey: Type.String(), digest: Type.String() });

/** A registered base as the gateway resolved it: `full` weights, or an `adapter` that lies on `of`. */
export const ResolvedModel = Type.Object({
  name: Name,
  version: Type.Integer({ minimum: 1 }),
  weights: ManifestRef,
  /** Present when the version is an adapter: its own manifest; `weights` is then the model it lies on. */
  adapter: Type.Optional(ManifestRef),
});
export type ResolvedModel = Static<typeof ResolvedModel>;

/** Input of the `fine_tune` machine: the spec with defaults filled in and every reference resolved and pinned. */
export const FineTuneInput = Type.Object({
  jobId: Type.String(),
  project: Name,
  spec: FineTuneSpec,
  dataset: ResolvedDataset,
  base: Type.Union([
    Type.Object({ kind: Type.Literal('config'), config: ModelConfig }),
    Type.Object({ kind: Type.Literal('model'), model: ResolvedModel }),
  ]),
  /** SHA-256 of the canonical JSON of `spec`, lower-case hex. */
  configDigest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  /** Commit of the code that took the job in, for the lineage. */
  codeCommit: Type.String({ minLength: 1 }),
  /** The rows that the data was assembled from, for the next incremental retrain. */
  rowManifest: Type.Optional(Type.Object({ key: Type.String(), digest: Type.String() })),
  /** A trial of a search ends with its artifacts stored: the search evaluates and registers the best one. */
  purpose: Type.Optional(Type.Literal('trial')),
});
export type FineTuneInput = Static<typeof FineTuneInput>;
