import { type Static, Type } from '#typebox';
import { BiasSuite, PreferenceAccuracySuite, RefusalSuite, ToxicitySuite } from './safety-suites.ts';

/**
 * The trainer protocol: how a GPU worker talks to any training program (docs/trainer-protocol.md).
 *
 * The program is started with one argument, the path of a JSON file that holds a `TrainerSpec`. It prints one JSON object
 * per line on stdout (`TrainerMessage`), anything on stderr is kept as log. SIGTERM means: save a checkpoint, print it, exit 75.
 */
export const TRAINER_EXIT = {
  /** The work is done and a `result` line was printed. */
  done: 0,
  /** The data cannot be used (non-retryable). */
  badData: 65,
  /** Stopped on request after saving a checkpoint. */
  yielded: 75,
  /** The spec cannot be used (non-retryable). */
  badConfig: 78,
} as const;

/** GPT-2 shaped decoder; `vocabularySize` comes from the tokenizer of the data. Positions are learnt, the head is tied. */
export const ModelConfig = Type.Object(
  {
    layers: Type.Integer({ minimum: 1, maximum: 48 }),
    heads: Type.Integer({ minimum: 1, maximum: 64 }),
    /** Width of the residual stream; divisible by `heads`. */
    embeddingSize: Type.Integer({ minimum: 8, maximum: 4096 }),
    /** Longest sequence in tokens. */
    contextLength: Type.Integer({ minimum: 8, maximum: 4096 }),
  },
  { additionalProperties: false },
);
export type ModelConfig = Static<typeof ModelConfig>;

/** Low-rank adapter settings, names as in PEFT and TRL. */
export const LoraConfig = Type.Object(
  {
    r: Type.Integer({ minimum: 1, maximum: 1024, default: 8 }),
    alpha: Type.Number({ exclusiveMinimum: 0, default: 16 }),
    dropout: Type.Number({ minimum: 0, exclusiveMaximum: 1, default: 0 }),
    targetModules: Type.Array(Type.Union([Type.Literal('c_attn'), Type.Literal('c_proj'), Type.Literal('c_fc')]), {
      minItems: 1,
      uniqueItems: true,
      default: ['c_attn', 'c_proj', 'c_fc'],
    }),
  },
  { additionalProperties: false },
);
export type LoraConfig = Static<typeof LoraConfig>;

/** Optimiser and loop settings. Budgets are steps, never seconds: a run is a pure function of spec, data and seed. */
export const TrainingHyperparameters = Type.Object(
  {
    maxSteps: Type.Integer({ minimum: 1, maximum: 10_000_000 }),
    /** Sequences per forward pass. */
    batchSize: Type.Integer({ minimum: 1, maximum: 4096, default: 8 }),
    /** Tokens per sequence, at most the model's context length. */
    sequenceLength: Type.Integer({ minimum: 8, maximum: 4096, default: 64 }),
    /** Micro-batches whose gradients are averaged into one optimiser step. */
    gradientAccumulationSteps: Type.Integer({ minimum: 1, maximum: 1024, default: 1 }),
    learningRate: Type.Number({ exclusiveMinimum: 0, maximum: 10 }),
    /** Steps of linear warm-up, then cosine to `minLearningRateRatio * learningRate` at `maxSteps`. */
    warmupSteps: Type.Integer({ minimum: 0, default: 20 }),
    minLearningRateRatio: Type.Number({ minimum: 0, maximum: 1, default: 0.1 }),
    weightDecay: Type.Number({ minimum: 0, default: 0.1 }),
    beta1: Type.Number({ minimum: 0, exclusiveMaximum: 1, default: 0.9 }),
    beta2: Type.Number({ minimum: 0, exclusiveMaximum: 1, default: 0.99 }),
    /** Global L2 norm above which gradients are scaled down; 0 switches clipping off. */
    gradientClip: Type.Number({ minimum: 0, default: 1 }),
    /** Standard deviation of initial weights when the base is a `config`. */
    initStd: Type.Number({ exclusiveMinimum: 0, default: 0.06 }),
    checkpointEverySteps: Type.Integer({ minimum: 1, default: 100 }),
    /** Steps between two validation losses (the last step is always evaluated); 0 = only at the end. */
    evaluateEverySteps: Type.Integer({ minimum: 0, default: 100 }),
    /** Validation tokens used for one validation loss. */
    validationTokens: Type.Integer({ minimum: 1, default: 8192 }),
  },
  { additionalProperties: false },
);
export type TrainingHyperparameters = Static<typeof TrainingHyperparameters>;

/** `full` trains every weight, `lora` adapters on a frozen base, `qlora` adapters on a frozen base held in 4 bits (NF4). */
export const Technique = Type.Union([Type.Literal('full'), Type.Literal('lora'), Type.Literal('qlora')]);
export type Technique = Static<typeof Technique>;

/** Where the weights start: random (`config`) or a folder with `model.safetensors`, `config.json`, `tokenizer.json` (`model`). */
export const TrainerBase = Type.Union([
  Type.Object({ kind: Type.Literal('config'), config: ModelConfig }, { additionalProperties: false }),
  Type.Object(
    {
      kind: Type.Literal('model'),
      dir: Type.String({ minLength: 1 }),
      /** A PEFT adapter folder merged onto the model before anything else. */
      adapterDir: Type.Optional(Type.String({ minLength: 1 })),
    },
    { additionalProperties: false },
  ),
]);
export type TrainerBase = Static<typeof TrainerBase>;

const Limits = Type.Object(
  {
    /** Resident memory in MiB above which the trainer stops itself with `TrainerOutOfMemory` (exit 1, retryable: false); 0 = no limit. */
    maxMemoryMib: Type.Integer({ minimum: 0, default: 0 }),
    /** Threads of the numeric engine. 1 is bit-deterministic across machines' loads and the fastest on busy machines. */
    threads: Type.Integer({ minimum: 1, maximum: 64, default: 1 }),
  },
  { additionalProperties: false },
);

/** Supervised training (next-token loss; on completions only when the data is masked). All paths are absolute. */
export const SftSpec = Type.Object(
  {
    protocol: Type.Literal('trainyard-trainer/1'),
    method: Type.Literal('sft'),
    technique: Technique,
    base: TrainerBase,
    /** A folder as `TokenizedDataset` describes. */
    dataDir: Type.String({ minLength: 1 }),
    /** The result is written here: `full` = model folder, `lora`/`qlora` = PEFT adapter folder + the tokenizer. */
    outputDir: Type.String({ minLength: 1 }),
    /** Checkpoints are written as `<checkpointDir>/step-<8 digits>/`, each complete when its line is printed. */
    checkpointDir: Type.String({ minLength: 1 }),
    /** A checkpoint folder to continue from; the loss curve equals that of a run which never stopped, bit for bit. */
    resumeFrom: Type.Optional(Type.String({ minLength: 1 })),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295 }),
    hyperparameters: TrainingHyperparameters,
    lora: Type.Optional(LoraConfig),
    limits: Limits,
  },
  { additionalProperties: false },
);
export type SftSpec = Static<typeof SftSpec>;

/** A base that exists: adapters, reward models and policies start from a trained model, never from random weights. */
const StoredModel = TrainerBase.anyOf[1];

/** Learning rate, batches, clipping and intervals: the same for every method. */
const { validationTokens: _tokens, initStd: _std, ...optimiserSettings } = TrainingHyperparameters.properties;

/** Settings of `reward` and `dpo`; `batchSize` counts pairs, `sequenceLength` prompt and completion together. */
const PreferenceHyperparameters = Type.Object(
  {
    ...optimiserSettings,
    /** Held-out pairs behind one validation, from the start of the split. */
    validationPairs: Type.Integer({ minimum: 1, default: 256 }),
  },
  { additionalProperties: false },
);
export type PreferenceHyperparameters = Static<typeof PreferenceHyperparameters>;

/** What every method that trains takes besides its data: folders, seed, limits. All paths are absolute. */
const trainingFields = {
  protocol: Type.Literal('trainyard-trainer/1'),
  technique: Technique,
  base: StoredModel,
  outputDir: Type.String({ minLength: 1 }),
  checkpointDir: Type.String({ minLength: 1 }),
  resumeFrom: Type.Optional(Type.String({ minLength: 1 })),
  seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295 }),
  lora: Type.Optional(LoraConfig),
  limits: Limits,
};

/**
 * A Bradley-Terry reward model: the base with a linear head of one output, trained so that chosen completions score higher than
 * rejected ones. The result is a model folder (adapters merged in) with `reward_head.safetensors` and `reward_config.json`.
 */
export const RewardSpec = Type.Object(
  {
    ...trainingFields,
    method: Type.Literal('reward'),
    /** A folder as `PreferenceDataset` describes. */
    dataDir: Type.String({ minLength: 1 }),
    /** The completion's score: the mean over its tokens, or its last token's. `last` is what TRL does; `mean` learns faster on small data. */
    pooling: Type.Union([Type.Literal('mean'), Type.Literal('last')], { default: 'mean' }),
    hyperparameters: PreferenceHyperparameters,
  },
  { additionalProperties: false },
);
export type RewardSpec = Static<typeof RewardSpec>;

/** Direct preference optimisation (Rafailov et al. 2023) with the base as reference. Output as of `sft`. */
export const DpoSpec = Type.Object(
  {
    ...trainingFields,
    method: Type.Literal('dpo'),
    /** A folder as `PreferenceDataset` describes. */
    dataDir: Type.String({ minLength: 1 }),
    hyperparameters: Type.Object(
      {
        ...PreferenceHyperparameters.properties,
        /** Strength of the pull towards the reference: the implicit reward is `beta * (log p - log p_reference)`. */
        beta: Type.Number({ exclusiveMinimum: 0, maximum: 100, default: 0.1 }),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);
export type DpoSpec = Static<typeof DpoSpec>;

const { maxSteps: _steps, gradientAccumulationSteps: _micro, batchSize: _batch, ...ppoOptimiser } = optimiserSettings;

/** Names as in TRL's PPOConfig. One optimiser step is one minibatch: `rounds * numPpoEpochs * numMiniBatches` steps in all. */
const PpoHyperparameters = Type.Object(
  {
    ...ppoOptimiser,
    /** Rounds of rollout and optimisation. */
    rounds: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
    /** Responses sampled in one round, one a prompt. */
    batchSize: Type.Integer({ minimum: 1, maximum: 4096, default: 32 }),
    /** Equal parts into which a round's responses are cut; must divide `batchSize`. */
    numMiniBatches: Type.Integer({ minimum: 1, maximum: 4096, default: 2 }),
    /** Times each response is used. */
    numPpoEpochs: Type.Integer({ minimum: 1, maximum: 100, default: 4 }),
    /** Tokens of a response, less than `sequenceLength`; prompts keep their last `sequenceLength - responseLength` tokens. */
    responseLength: Type.Integer({ minimum: 1, maximum: 4095, default: 32 }),
    temperature: Type.Number({ exclusiveMinimum: 0, maximum: 4, default: 1 }),
    /** Reward taken per token and nat away from the reference. */
    klCoef: Type.Number({ minimum: 0, maximum: 100, default: 0.05 }),
    cliprange: Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1, default: 0.2 }),
    cliprangeValue: Type.Number({ exclusiveMinimum: 0, default: 0.2 }),
    vfCoef: Type.Number({ minimum: 0, maximum: 100, default: 0.1 }),
    gamma: Type.Number({ minimum: 0, maximum: 1, default: 1 }),
    lam: Type.Number({ minimum: 0, maximum: 1, default: 0.95 }),
    /** Held-out prompts behind one validation, from the start of the split. */
    validationPrompts: Type.Integer({ minimum: 1, default: 64 }),
  },
  { additionalProperties: false },
);

/** Proximal policy optimisation of a policy with a value head against a reward model. Output as of `sft`. */
export const PpoSpec = Type.Object(
  {
    ...trainingFields,
    method: Type.Literal('ppo'),
    /** A folder as `PromptDataset` describes. */
    dataDir: Type.String({ minLength: 1 }),
    /** The output folder of a `reward` run with the tokenizer of the data. */
    rewardModelDir: Type.String({ minLength: 1 }),
    hyperparameters: PpoHyperparameters,
  },
  { additionalProperties: false },
);
export type PpoSpec = Static<typeof PpoSpec>;

/**
 * - `held_out_text`: perplexity and bits per byte on the validation split of `dataDir`, with unigram and bigram baselines.
 * - `cloze`: 4-choice continuation questions scored by summed log-likelihood (the MMLU protocol), items shipped with the trainer.
 * - `toxicity`, `bias`, `refusal`: see `safety-suites.ts`.
 */
const standaloneSuites = [
  Type.Object(
    {
      suite: Type.Literal('held_out_text'),
      /** Validation tokens scored, from the start of the split; 0 = all. */
      maxTokens: Type.Integer({ minimum: 0, default: 0 }),
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      suite: Type.Literal('cloze'),
      /** Name of a shipped item file: `state-of-the-union` or `moby-dick`. */
      items: Type.Union([Type.Literal('state-of-the-union'), Type.Literal('moby-dick')]),
      maxItems: Type.Integer({ minimum: 0, default: 0 }),
    },
    { additionalProperties: false },
  ),
  ToxicitySuite,
  BiasSuite,
  RefusalSuite,
] as const;
/** Suites that need nothing but a model and tokenized text. */
export const StandaloneSuite = Type.Union([...standaloneSuites]);
export const EvaluationSuite = Type.Union([...standaloneSuites, PreferenceAccuracySuite]);
export type EvaluationSuite = Static<typeof EvaluationSuite>;

/** Further models that one evaluation compares with. */
const MAX_COMPARISONS = 16;

/** Evaluation of one model, and on the same items of a base model (`baseline`) and of any further ones (`comparisons`). */
export const EvaluateSpec = Type.Object(
  {
    protocol: Type.Literal('trainyard-trainer/1'),
    method: Type.Literal('evaluate'),
    model: TrainerBase,
    baseline: Type.Optional(TrainerBase),
    /** Each is scored once, one model in memory at a time; the report has an entry a member in `comparisons`. */
    comparisons: Type.Optional(Type.Array(TrainerBase, { maxItems: MAX_COMPARISONS })),
    dataDir: Type.String({ minLength: 1 }),
    /** A folder as `PreferenceDataset` describes; the suite `preference_accuracy` needs it and a baseline. */
    preferenceDataDir: Type.Optional(Type.String({ minLength: 1 })),
    /** `report.json` (an `EvaluationReport`) and `samples.json` are written here. */
    outputDir: Type.String({ minLength: 1 }),
    suites: Type.Array(EvaluationSuite, { minItems: 1, maxItems: 16 }),
    /** Texts generated from the start of held-out documents, kept beside the report. */
    samples: Type.Object(
      {
        count: Type.Integer({ minimum: 0, maximum: 32 }),
        tokens: Type.Integer({ minimum: 1, maximum: 512 }),
        temperature: Type.Number({ exclusiveMinimum: 0, maximum: 4 }),
      },
      { additionalProperties: false },
    ),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295 }),
    limits: Limits,
  },
  { additionalProperties: false },
);
export type EvaluateSpec = Static<typeof EvaluateSpec>;

export const TrainerSpec = Type.Union([SftSpec, RewardSpec, DpoSpec, PpoSpec, EvaluateSpec]);
export type TrainerSpec = Static<typeof TrainerSpec>;

/**
 * One metric of an evaluation. `delta*` are present when a baseline was scored on the same items: the paired difference
 * model minus baseline and the standard error of that paired difference.
 */
export const EvaluationMetric = Type.Object({
  name: Type.String({ minLength: 1 }),
  value: Type.Number(),
  standardError: Type.Union([Type.Number(), Type.Null()]),
  higherIsBetter: Type.Boolean(),
  /** Independent items behind the value (windows, questions). */
  count: Type.Integer({ minimum: 0 }),
  baselineValue: Type.Optional(Type.Number()),
  delta: Type.Optional(Type.Number()),
  deltaStandardError: Type.Optional(Type.Number()),
});
export type EvaluationMetric = Static<typeof EvaluationMetric>;

/**
 * Metric names:
 * - `held_out.bits_per_byte`, `held_out.perplexity`, `held_out.loss`, `held_out.unigram_bits_per_byte`, `held_out.bigram_bits_per_byte`;
 * - `cloze.<items>.accuracy`;
 * - `toxicity.share`: continuations with a listed word; lower is better, items are continuations;
 * - `bias.<pair>.absolute_difference`: |mean over templates| in nats per token, and `bias.mean_absolute_difference` over the pairs;
 *   lower is better, items are templates;
 * - `refusal.share`: refused requests; higher is better, items are requests;
 * - `preference.accuracy`, `preference.margin`: held-out pairs whose chosen completion has the higher implicit reward against the
 *   baseline, and the mean difference of the two rewards; higher is better, items are pairs.
 */
export const EvaluationReport = Type.Object({
  format: Type.Literal('trainyard-evaluation/1'),
  metrics: Type.Array(EvaluationMetric),
  /** Present when the spec has `comparisons`, in their order: the model's metrics with that one as the baseline. */
  comparisons: Type.Optional(Type.Array(Type.Object({ metrics: Type.Array(EvaluationMetric) }))),
  samples: Type.Array(Type.Object({ prompt: Type.String(), text: Type.String() })),
});
export type EvaluationReport = Static<typeof EvaluationReport>;

/** One line of a trainer's stdout. `step` counts optimiser steps from 1; a `step` line is progress, whatever it carries. */
export const TrainerMessage = Type.Union([
  Type.Object({
    type: Type.Literal('step'),
    step: Type.Integer({ minimum: 0 }),
    stepsTotal: Type.Integer({ minimum: 0 }),
    /** Mean training loss of this step in nats per token; absent in an evaluation. */
    loss: Type.Optional(Type.Number()),
    learningRate: Type.Optional(Type.Number()),
    gradientNorm: Type.Optional(Type.Number()),
    tokensPerSecond: Type.Optional(Type.Number()),
    /** Wall time of this step in ms. */
    stepMs: Type.Optional(Type.Number()),
  }),
  Type.Object({
    type: Type.Literal('metric'),
    name: Type.String(),
    step: Type.Integer({ minimum: 0 }),
    value: Type.Number(),
  }),
  Type.Object({ type: Type.Literal('checkpoint'), step: Type.Integer({ minimum: 0 }), dir: Type.String() }),
  Type.Object({
    type: Type.Literal('log'),
    level: Type.Union([Type.Literal('info'), Type.Literal('warn')]),
    message: Type.String(),
  }),
  /** Why the program is about to exit with a non-zero code other than 75; `code` is a stable name from docs/errors.md. */
  Type.Object({ type: Type.Literal('error'), code: Type.String(), message: Type.String(), retryable: Type.Boolean() }),
  Type.Object({
    type: Type.Literal('result'),
    steps: Type.Integer({ minimum: 0 }),
    metrics: Type.Record(Type.String(), Type.Number()),
    /** Names of the files written below `outputDir`, sorted. */
    files: Type.Array(Type.String()),
  }),
]);
export type TrainerMessage = Static<typeof TrainerMessage>;
