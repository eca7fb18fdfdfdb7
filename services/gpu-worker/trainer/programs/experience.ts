import type { PpoSpec, RewardSpec } from '#lib/contracts/trainer-protocol.ts';
import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import type { RandomStream } from '#lib/kernel/random.ts';
import { fillPooling, fillPredicting, fitSequence, type Sequence } from '../data/sequences.ts';
import { continuePrompts } from '../eval/continuations.ts';
import type { RewardModel } from '../formats/reward-folder.ts';
import type { Model } from '../model/weights.ts';
import { compileDecoder, type DecoderProgram } from './decoder.ts';
import { compilePolicyScoring, type PolicyScoring } from './policy-programs.ts';
import { compileRows, rewardOfRow, type RowProgram } from './preference-programs.ts';

/** Responses of the policy as it is, with what everyone says about them; the token arrays are [responses * length]. */
export interface Experience {
  readonly sequences: readonly Sequence[];
  /** The reward model's score of each response. */
  readonly scores: Float32Array;
  /** 1 where a token of a response is predicted. */
  readonly mask: Float32Array;
  readonly logps: Float32Array;
  readonly referenceLogps: Float32Array;
  readonly values: Float32Array;
  /** Responses that ended by themselves. */
  readonly ended: number;
}

export interface ExperienceModels {
  /** With value head; its weights change between two experiences. */
  readonly policy: Model;
  readonly reference: Model;
  readonly reward: RewardModel;
}

/** Samples responses and scores them with policy, reference and reward model. */
export class ExperienceMaker {
  private readonly decoder: DecoderProgram;
  private readonly policy: PolicyScoring;
  private readonly reference: PolicyScoring;
  private readonly reward: RowProgram;
  private readonly pooling: RewardSpec['pooling'];
  private readonly padding: number;
  private readonly settings: PpoSpec['hyperparameters'];

  private constructor(
    programs: { decoder: DecoderProgram; policy: PolicyScoring; reference: PolicyScoring; reward: RowProgram },
    models: ExperienceModels,
    settings: PpoSpec['hyperparameters'],
  ) {
    this.decoder = programs.decoder;
    this.policy = programs.policy;
    this.reference = programs.reference;
    this.reward = programs.reward;
    this.pooling = models.reward.pooling;
    this.padding = models.policy.config.endOfTextId;
    this.settings = settings;
  }

  static async compile(
    models: ExperienceModels,
    settings: PpoSpec['hyperparameters'],
    threads: number,
  ): Promise<ExperienceMaker> {
    const { batchSize, numMiniBatches, sequenceLength: length, temperature } = settings;
    const size = { batch: batchSize / numMiniBatches, length, threads };
    const programs = {
      decoder: await compileDecoder(models.policy, { ...size, batch: batchSize }),
      policy: await compilePolicyScoring(models.policy, size, temperature, true),
      reference: await compilePolicyScoring(models.reference, size, temperature, false),
      reward: await compileRows(models.reward.model, rewardOfRow, size),
    };
    return new ExperienceMaker(programs, models, settings);
  }

  /** At most `batchSize` prompts. `afterToken` may throw to stop: nothing has changed then. */
  async make(
    prompts: readonly Uint16Array[],
    random: RandomStream,
    afterToken: () => void = () => undefined,
  ): Promise<Experience> {
    const { responseLength, sequenceLength: length, temperature } = this.settings;
    const kept = prompts.map((prompt) => prompt.subarray(Math.max(0, prompt.length - (length - responseLength))));
    const responses = await continuePrompts(this.decoder, kept, {
      tokens: responseLength,
      temperature,
      endOfTextId: this.padding,
      random,
      afterToken,
    });
    const sequences = responses.map((response, row) =>
      fitSequence(kept[row] ?? new Uint16Array(), Uint16Array.from(response), length),
    );
    const size = sequences.length * length;
    const experience = {
      sequences,
      scores: new Float32Array(sequences.length),
      mask: new Float32Array(size),
      logps: new Float32Array(size),
      referenceLogps: new Float32Array(size),
      values: new Float32Array(size),
      ended: responses.filter((response) => response.at(-1) === this.padding).length,
    };
    const perPass = this.policy.batch.ids.length / length;
    for (let begin = 0; begin < sequences.length; begin += perPass) await this.score(experience, begin, perPass);
    return experience;
  }

  private async score(experience: Experience, begin: number, perPass: number): Promise<void> {
    const { length } = this.policy.batch;
    const count = Math.min(perPass, experience.sequences.length - begin);
    for (let row = 0; row < perPass; row += 1) {
      const sequence = row < count ? experience.sequences[begin + row] : undefined;
      fillPredicting(this.policy.batch, row, sequence, this.padding);
      fillPredicting(this.reference.batch, row, sequence, this.padding);
      fillPooling(this.reward.batch, row, sequence, this.padding, this.pooling);
    }
    const [at, size] = [begin * length, count * length];
    const { logps, values } = await this.policy.run();
    invariant(values !== undefined, 'the policy has a value head');
    const scores = await this.reward.run();
    experience.mask.set(this.policy.batch.weights.subarray(0, size), at);
    experience.logps.set(logps.subarray(0, size), at);
    experience.values.set(values.subarray(0, size), at);
    experience.referenceLogps.set((await this.reference.run()).logps.subarray(0, size), at);
    experience.scores.set(scores.subarray(0, count), begin);
    if (!scores.subarray(0, count).every(Number.isFinite))
      throw new TrainyardError('NonFiniteLoss', 'the reward model’s score of a response is not a number');
  }
}

/** Means over the responses, names as of TRL's PPOTrainer; sums over a response's tokens first. */
export function experienceMetrics(experience: Experience, klCoef: number): Record<string, number> {
  const { scores, mask, logps, referenceLogps, sequences, ended } = experience;
  const count = sequences.length;
  let kl = 0;
  let entropy = 0;
  for (let at = 0; at < mask.length; at += 1) {
    if (mask[at] !== 1) continue;
    kl += (logps[at] ?? 0) - (referenceLogps[at] ?? 0);
    entropy -= logps[at] ?? 0;
  }
  const score = scores.reduce((sum, value) => sum + value, 0) / count;
  const penalty = (-klCoef * kl) / count;
  return {
    'objective/kl': kl / count,
    'objective/entropy': entropy / count,
    'objective/non_score_reward': penalty,
    'objective/scores': score,
    'objective/rlhf_reward': score + penalty,
    'val/num_eos_tokens': ended,
  };
}
