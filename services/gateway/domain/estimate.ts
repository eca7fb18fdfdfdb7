import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import type { RlhfSpec } from '#lib/contracts/rlhf-job.ts';
import type { EvaluationSuite } from '#lib/contracts/trainer-protocol.ts';
import type { Architecture } from './findings.ts';

/** What one GPU slot is good for. */
export interface SlotSpeed {
  /** Sustained floating-point operations per second, in 10^9. */
  readonly gflops: number;
}

/** Start of the trainer, loading and saving: measured 2 to 4 s for training and 1 to 2 s for evaluation on the simulated slot. */
const FIXED_SECONDS = 10;
/** Operations per weight and token: forward 2; backward 2 for activations and 2 more for the gradients of the weights that are trained. */
const FLOPS_FORWARD = 2;
const FLOPS_FULL = 6;
const FLOPS_ADAPTER = 4;
/** A base whose shape is not recorded: 124 million weights, the smallest GPT-2. */
const UNKNOWN_WEIGHTS = 124e6;
const UNKNOWN_CONTEXT = 1_024;

/** Weights of a GPT-2 shaped model: 12 d^2 a layer, token and position embeddings (Kaplan et al. 2020, section 2.1, plus embeddings). */
export const weightsOf = (shape: Architecture): number =>
  12 * shape.layers * shape.embeddingSize ** 2 + (shape.vocabularySize + shape.contextLength) * shape.embeddingSize;

/** Seconds on a slot, rounded up, with the fixed part of `programs` starts of the trainer. */
const secondsOf = (operations: number, speed: SlotSpeed, programs = 1): number =>
  programs * FIXED_SECONDS + Math.ceil(operations / (speed.gflops * 1e9));

const weightsOrGuess = (shape: Architecture | null): number => (shape === null ? UNKNOWN_WEIGHTS : weightsOf(shape));
const trainingFlops = (technique: FineTuneSpec['method']): number =>
  technique === 'full' ? FLOPS_FULL : FLOPS_ADAPTER;

/**
 * GPU seconds a fine-tuning job will take on one slot: what is reserved at submission, so an upper guess rather than a mean.
 *
 * training   = (6 full | 4 adapter) x weights x maxSteps x accumulation x batch x sequence / speed
 * validation = 2 x weights x validationTokens x (1 + maxSteps / evaluateEverySteps) / speed
 * plus a fixed 10 s. Rounded up to whole seconds.
 */
export function estimateFineTuneGpuSeconds(spec: FineTuneSpec, shape: Architecture | null, speed: SlotSpeed): number {
  const weights = weightsOrGuess(shape);
  const { maxSteps, gradientAccumulationSteps, batchSize, sequenceLength, evaluateEverySteps, validationTokens } =
    spec.hyperparameters;
  const tokens = maxSteps * gradientAccumulationSteps * batchSize * sequenceLength;
  const training = trainingFlops(spec.method) * weights * tokens;
  const validations = 1 + (evaluateEverySteps === 0 ? 0 : Math.floor(maxSteps / evaluateEverySteps));
  const validation = FLOPS_FORWARD * weights * validationTokens * validations;
  return secondsOf(training + validation, speed);
}

/** What an evaluation scores. */
export interface EvaluationLoad {
  readonly suites: readonly EvaluationSuite[];
  /** Shape of each model that is scored; null: not recorded. */
  readonly subjects: readonly (Architecture | null)[];
  /** Bytes of the texts and of the pairs: a token is at least one byte. */
  readonly textBytes: number;
  readonly preferenceBytes: number;
}

/**
 * GPU seconds of one evaluation: forward passes (2 x weights a token) over the tokens of every suite, for every model on the same items, plus a
 * fixed 10 s. Tokens are an upper guess: a byte of text is a token unless the suite says how many; a question, a continuation, a template or a
 * pair fills the context.
 */
export function estimateEvaluationGpuSeconds(load: EvaluationLoad, speed: SlotSpeed): number {
  const operations = load.subjects.map((shape) => {
    const context = shape?.contextLength ?? UNKNOWN_CONTEXT;
    const tokens = load.suites.reduce((sum, suite) => sum + suiteTokens(suite, context, load), 0);
    return FLOPS_FORWARD * weightsOrGuess(shape) * tokens;
  });
  return secondsOf(
    operations.reduce((sum, each) => sum + each, 0),
    speed,
  );
}

/** Rows of what ships with the trainer (`services/gpu-worker/trainer/eval/data`), rounded up. */
const CLOZE_ITEMS = 200;
const CLOZE_CHOICES = 4;
const BIAS_ROWS = 600;
const UNSAFE_REQUESTS = 50;

function suiteTokens(suite: EvaluationSuite, context: number, load: EvaluationLoad): number {
  switch (suite.suite) {
    case 'held_out_text':
      return suite.maxTokens === 0 ? load.textBytes : Math.min(suite.maxTokens, load.textBytes);
    case 'cloze':
      return Math.min(suite.maxItems === 0 ? CLOZE_ITEMS : suite.maxItems, CLOZE_ITEMS) * CLOZE_CHOICES * context;
    case 'toxicity':
      return suite.continuations * context;
    case 'bias':
      return BIAS_ROWS * context;
    case 'refusal':
      return UNSAFE_REQUESTS * context;
    case 'preference_accuracy':
      return suite.maxPairs === 0 ? load.preferenceBytes : Math.min(2 * suite.maxPairs * context, load.preferenceBytes);
  }
}

/**
 * GPU seconds of training a policy on preferences; w = weights, s = sequenceLength, t = 6 full | 4 adapter.
 *
 * dpo    = maxSteps x accumulation x 2 batch x s x (t + 2) w: both completions of a pair through the policy, and forward through the reference.
 * ppo    = rounds x batch x s x [(2 + 2 + 2) w + numPpoEpochs x (t + 2) w]: the rollout (cached keys, so one forward a token), reference
 *          and reward model forward once; then each response through the policy numPpoEpochs times, with its value head.
 * reward = (ppo only) maxSteps x accumulation x 2 batch x s x 6 w, every weight trained.
 * Validations: 2 completions (dpo, reward) or a rollout (ppo) of validationPairs or validationPrompts, each (1 + steps / evaluateEverySteps) times, 4 w a token.
 * Each program has a fixed 10 s.
 */
export function estimateAlignmentGpuSeconds(spec: RlhfSpec, shape: Architecture | null, speed: SlotSpeed): number {
  const weights = weightsOrGuess(shape);
  const { dpo, ppo, rewardModel } = spec;
  const flops = trainingFlops(spec.technique) + FLOPS_FORWARD;
  let seconds = 0;
  if (dpo !== undefined) seconds += secondsOf(weights * pairOperations(dpo, flops), speed);
  if (rewardModel !== undefined)
    seconds += secondsOf(weights * pairOperations(rewardModel.hyperparameters, FLOPS_FULL), speed);
  if (ppo !== undefined) {
    const steps = ppo.rounds * ppo.numPpoEpochs * ppo.numMiniBatches;
    const perToken = 3 * FLOPS_FORWARD + ppo.numPpoEpochs * flops;
    const held = 2 * FLOPS_FORWARD * ppo.validationPrompts * validationsIn(steps, ppo.evaluateEverySteps);
    seconds += secondsOf(weights * ppo.sequenceLength * (ppo.rounds * ppo.batchSize * perToken + held), speed);
  }
  return seconds;
}

/** Operations a weight of a program over pairs. */
function pairOperations(settings: NonNullable<RlhfSpec['dpo']> | RewardSettings, flops: number): number {
  const { maxSteps, gradientAccumulationSteps, batchSize, sequenceLength, evaluateEverySteps, validationPairs } =
    settings;
  const trained = maxSteps * gradientAccumulationSteps * batchSize * flops;
  const held = 2 * FLOPS_FORWARD * validationPairs * validationsIn(maxSteps, evaluateEverySteps);
  return 2 * sequenceLength * (trained + held);
}
type RewardSettings = NonNullable<RlhfSpec['rewardModel']>['hyperparameters'];

const validationsIn = (steps: number, every: number): number => 1 + (every === 0 ? 0 : Math.floor(steps / every));
