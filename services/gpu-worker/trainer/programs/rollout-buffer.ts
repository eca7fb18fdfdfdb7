import type { PpoSpec } from '#lib/contracts/trainer-protocol.ts';
import { allocateSequences, fillPredicting } from '../data/sequences.ts';
import type { NamedTensor } from '../formats/safetensors.ts';
import { generalisedAdvantages, whiten } from './advantages.ts';
import { type Experience, experienceMetrics } from './experience.ts';
import type { PolicyTraining } from './policy-programs.ts';

const COLUMNS = ['ids', 'targets', 'mask', 'logps', 'values', 'advantages', 'returns'] as const;
type Column = (typeof COLUMNS)[number];

const METRICS = [
  'objective/kl',
  'objective/entropy',
  'objective/non_score_reward',
  'objective/scores',
  'objective/rlhf_reward',
  'val/num_eos_tokens',
] as const;

/**
 * One round's rollouts with their advantages, as 32-bit floats only, so that a checkpoint holds them exactly: token ids are below
 * 2^16, and the round's metrics are rounded before they are first printed.
 */
export class RolloutBuffer {
  private readonly responses: number;
  private readonly length: number;
  private readonly columns: Readonly<Record<Column, Float32Array>>;
  private readonly metricValues = new Float32Array(METRICS.length);

  constructor(responses: number, length: number) {
    this.responses = responses;
    this.length = length;
    const column = (): Float32Array => new Float32Array(responses * length);
    this.columns = {
      ids: column(),
      targets: column(),
      mask: column(),
      logps: column(),
      values: column(),
      advantages: column(),
      returns: column(),
    };
  }

  /** Replaces the content by a new round's. The reward of a token is the KL penalty; the last one also gets the score. */
  take(experience: Experience, settings: Pick<PpoSpec['hyperparameters'], 'klCoef' | 'gamma' | 'lam'>): void {
    const { columns, length } = this;
    const { logps, referenceLogps, values, mask, scores, sequences } = experience;
    for (const column of Object.values(columns)) column.fill(0);
    const tokens = allocateSequences(this.responses, length);
    sequences.forEach((sequence, row) => {
      fillPredicting(tokens, row, sequence, 0);
      const begin = row * length + sequence.promptLength - 1;
      const end = row * length + sequence.ids.length - 1;
      const rewards = Float64Array.from(
        { length: end - begin },
        (_, t) => -settings.klCoef * ((logps[begin + t] ?? 0) - (referenceLogps[begin + t] ?? 0)),
      );
      rewards[rewards.length - 1] = (rewards.at(-1) ?? 0) + (scores[row] ?? 0);
      const { advantages, returns } = generalisedAdvantages(rewards, values.subarray(begin, end), settings);
      columns.advantages.set(advantages, begin);
      columns.returns.set(returns, begin);
    });
    columns.ids.set(tokens.ids);
    columns.targets.set(tokens.targets);
    columns.mask.set(mask);
    columns.logps.set(logps);
    columns.values.set(values);
    whiten(columns.advantages, columns.mask);
    const metrics = experienceMetrics(experience, settings.klCoef);
    METRICS.forEach((name, at) => void (this.metricValues[at] = metrics[name] ?? Number.NaN));
  }

  /** Writes the given responses into a minibatch. */
  fill(program: PolicyTraining, rows: Int32Array): void {
    const targets: Readonly<Record<Column, Float32Array | Int32Array>> = {
      ids: program.batch.ids,
      targets: program.batch.targets,
      mask: program.batch.weights,
      logps: program.oldLogps,
      values: program.oldValues,
      advantages: program.advantages,
      returns: program.returns,
    };
    for (const name of COLUMNS) {
      rows.forEach((row, at) => {
        const source = this.columns[name].subarray(row * this.length, (row + 1) * this.length);
        targets[name].set(source, at * this.length);
      });
    }
  }

  /** The round's means. */
  metrics(): Record<string, number> {
    return Object.fromEntries(METRICS.map((name, at) => [name, this.metricValues[at] ?? Number.NaN]));
  }

  /** The memory itself, to save from and to restore into. */
  tensors(): NamedTensor[] {
    const shape = [this.responses, this.length];
    return [
      ...COLUMNS.map((name) => ({ name: `rollout.${name}`, shape, data: this.columns[name] })),
      { name: 'rollout.metrics', shape: [METRICS.length], data: this.metricValues },
    ];
  }
}
