import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import type { Architecture } from './fine-tune-rules.ts';

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

/** Weights of a GPT-2 shaped model: 12 d^2 a layer, token and position embeddings (Kaplan et al. 2020, section 2.1, plus embeddings). */
export const weightsOf = (shape: Architecture): number =>
  12 * shape.layers * shape.embeddingSize ** 2 + (shape.vocabularySize + shape.contextLength) * shape.embeddingSize;

/**
 * GPU seconds a fine-tuning job will take on one slot: what is reserved at submission, so an upper guess rather than a mean.
 *
 * training   = (6 full | 4 adapter) x weights x maxSteps x accumulation x batch x sequence / speed
 * validation = 2 x weights x validationTokens x (1 + maxSteps / evaluateEverySteps) / speed
 * plus a fixed 10 s. Rounded up to whole seconds.
 */
export function estimateFineTuneGpuSeconds(spec: FineTuneSpec, shape: Architecture | null, speed: SlotSpeed): number {
  const weights = shape === null ? UNKNOWN_WEIGHTS : weightsOf(shape);
  const { maxSteps, gradientAccumulationSteps, batchSize, sequenceLength, evaluateEverySteps, validationTokens } =
    spec.hyperparameters;
  const tokens = maxSteps * gradientAccumulationSteps * batchSize * sequenceLength;
  const training = (spec.method === 'full' ? FLOPS_FULL : FLOPS_ADAPTER) * weights * tokens;
  const validations = 1 + (evaluateEverySteps === 0 ? 0 : Math.floor(maxSteps / evaluateEverySteps));
  const validation = FLOPS_FORWARD * weights * validationTokens * validations;
  return FIXED_SECONDS + Math.ceil((training + validation) / (speed.gflops * 1e9));
}
