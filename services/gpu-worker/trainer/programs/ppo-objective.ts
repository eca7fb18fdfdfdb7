import type { PpoSpec } from '#lib/contracts/trainer-protocol.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import type { TokenRows } from '#lib/datasets/row-folder-reader.ts';
import { ShuffledRows } from '../data/shuffled-rows.ts';
import type { DataPosition } from '../data/training-batches.ts';
import type { NamedTensor } from '../formats/safetensors.ts';
import type { RunState } from '../checkpoint.ts';
import type { TensorSet } from '../model/tensor-set.ts';
import { type Model, trainableTensors } from '../model/weights.ts';
import { derivedSeed, permutation, PURPOSE } from '../random.ts';
import type { ExperienceMaker } from './experience.ts';
import type { Objective, StepGradients } from './objective.ts';
import type { PolicyTraining } from './policy-programs.ts';
import { RolloutBuffer } from './rollout-buffer.ts';

export const ppoStepsPerRound = ({ numPpoEpochs, numMiniBatches }: PpoSpec['hyperparameters']): number =>
  numPpoEpochs * numMiniBatches;

export interface PpoObjectiveOptions {
  readonly spec: PpoSpec;
  readonly policy: Model;
  readonly maker: ExperienceMaker;
  readonly program: PolicyTraining;
  readonly prompts: TokenRows;
  /** Called after each sampled token; may throw `StopRequested`. */
  readonly afterToken: () => void;
}

/**
 * PPO: the first step of a round samples responses, each of its steps learns from a minibatch of them. What a round samples is a
 * function of (seed, round, weights), so a stop while sampling costs nothing; between the steps of a round the rollouts are part of
 * the checkpoint, because the weights that made them are gone.
 */
export class PpoObjective implements Objective {
  readonly trainable: TensorSet;
  readonly stepsPerRound: number;
  private readonly options: PpoObjectiveOptions;
  private readonly rows: ShuffledRows;
  private readonly buffer: RolloutBuffer;
  private step = 0;

  constructor(options: PpoObjectiveOptions) {
    const { spec, policy, prompts } = options;
    const { batchSize, sequenceLength } = spec.hyperparameters;
    this.options = options;
    this.trainable = trainableTensors(policy);
    this.stepsPerRound = ppoStepsPerRound(spec.hyperparameters);
    this.rows = new ShuffledRows(prompts.count, derivedSeed(spec.seed, PURPOSE.data));
    this.buffer = new RolloutBuffer(batchSize, sequenceLength);
  }

  async gradients(step: number): Promise<StepGradients> {
    const { spec, program } = this.options;
    const { numMiniBatches, numPpoEpochs, batchSize, cliprange, cliprangeValue } = spec.hyperparameters;
    const round = Math.floor((step - 1) / this.stepsPerRound);
    const within = (step - 1) % this.stepsPerRound;
    if (within === 0) await this.rollOut(round);
    const epoch = round * numPpoEpochs + Math.floor(within / numMiniBatches);
    const seed = derivedSeed(derivedSeed(spec.seed, PURPOSE.miniBatches), epoch);
    const order = permutation(batchSize, mulberry32(seed));
    const size = batchSize / numMiniBatches;
    const begin = (within % numMiniBatches) * size;
    this.buffer.fill(program, order.subarray(begin, begin + size));
    const { loss, policyLoss, valueLoss, outputs } = await program.run();
    this.step = step;
    return {
      loss,
      gradients: program.gradients,
      scale: 1,
      metrics: {
        ...this.buffer.metrics(),
        ...stepMetrics(program, outputs, { cliprange, cliprangeValue }),
        'loss/policy_avg': policyLoss,
        'loss/value_avg': valueLoss,
      },
    };
  }

  dataPosition(): DataPosition {
    const rounds = Math.ceil(this.step / this.stepsPerRound);
    return this.rows.position(rounds * this.options.spec.hyperparameters.batchSize);
  }

  /** All streams are functions of seed and round. */
  prngState(): number {
    return 0;
  }

  extra(step: number): readonly NamedTensor[] {
    return step % this.stepsPerRound === 0 ? [] : this.buffer.tensors();
  }

  restored(state: RunState): void {
    this.step = state.step;
  }

  release(): Promise<void> {
    return this.options.program.release();
  }

  private async rollOut(round: number): Promise<void> {
    const { spec, maker, prompts, afterToken } = this.options;
    const { batchSize } = spec.hyperparameters;
    const chosen = Array.from({ length: batchSize }, (_, index) => {
      const [prompt] = prompts.at(this.rows.at(round * batchSize + index));
      return prompt ?? new Uint16Array();
    });
    const random = mulberry32(derivedSeed(derivedSeed(spec.seed, PURPOSE.rollout), round));
    this.buffer.take(await maker.make(chosen, random, afterToken), spec.hyperparameters);
  }
}

/** How far the policy moved since the rollout, over the tokens of a minibatch; names as of TRL's PPOTrainer. */
function stepMetrics(
  { batch, oldLogps, advantages, oldValues, returns }: PolicyTraining,
  { logps, values }: { logps: Float32Array; values: Float32Array | undefined },
  clip: { cliprange: number; cliprangeValue: number },
): Record<string, number> {
  const sums = { tokens: 0, approxkl: 0, ratio: 0, clipped: 0, valueClipped: 0 };
  for (let at = 0; at < batch.weights.length; at += 1) {
    if (batch.weights[at] !== 1) continue;
    const moved = (logps[at] ?? 0) - (oldLogps[at] ?? 0);
    const ratio = Math.exp(moved);
    const held = Math.min(1 + clip.cliprange, Math.max(1 - clip.cliprange, ratio));
    const advantage = advantages[at] ?? 0;
    const before = oldValues[at] ?? 0;
    const value = values?.[at] ?? 0;
    const target = returns[at] ?? 0;
    const heldValue = Math.min(before + clip.cliprangeValue, Math.max(before - clip.cliprangeValue, value));
    sums.tokens += 1;
    sums.approxkl += moved ** 2 / 2;
    sums.ratio += ratio;
    if (held * advantage < ratio * advantage) sums.clipped += 1;
    if (heldValue !== value && (heldValue - target) ** 2 > (value - target) ** 2) sums.valueClipped += 1;
  }
  return {
    'policy/approxkl_avg': sums.approxkl / sums.tokens,
    'policy/clipfrac_avg': sums.clipped / sums.tokens,
    'val/clipfrac_avg': sums.valueClipped / sums.tokens,
    'val/ratio': sums.ratio / sums.tokens,
  };
}
