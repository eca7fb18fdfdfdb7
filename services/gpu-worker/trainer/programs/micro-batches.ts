import type { StepGradients } from './objective.ts';

/** What one pass over a micro-batch says: its mean loss, the weight it counts with, and more means by name. */
export interface MicroBatch {
  readonly loss: number;
  readonly weight: number;
  readonly metrics?: Readonly<Record<string, number>>;
}

/**
 * Adds up the micro-batches of one step. Each is normalised by its own weight and then counts in proportion to it, so that
 * 2 micro-batches of 4 give the gradient of 1 batch of 8 even when masks differ.
 */
export class MicroBatches {
  private readonly count: number;
  private readonly gradients: Float32Array;
  private readonly accumulated: Float32Array | undefined;

  /** `gradients` is the memory that one pass overwrites. */
  constructor(count: number, gradients: Float32Array) {
    this.count = count;
    this.gradients = gradients;
    this.accumulated = count > 1 ? new Float32Array(gradients.length) : undefined;
  }

  async run(pass: (micro: number) => Promise<MicroBatch>): Promise<StepGradients> {
    const { accumulated, gradients } = this;
    accumulated?.fill(0);
    const sums: Record<string, number> = {};
    let weightedLoss = 0;
    let totalWeight = 0;
    for (let micro = 0; micro < this.count; micro += 1) {
      const { loss, weight, metrics } = await pass(micro);
      weightedLoss += loss * weight;
      totalWeight += weight;
      for (const [name, value] of Object.entries(metrics ?? {})) sums[name] = (sums[name] ?? 0) + value * weight;
      if (accumulated !== undefined) addScaled(accumulated, gradients, weight);
    }
    return {
      loss: weightedLoss / totalWeight,
      gradients: accumulated ?? gradients,
      scale: accumulated === undefined ? 1 : 1 / totalWeight,
      metrics: Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / totalWeight])),
    };
  }
}

function addScaled(into: Float32Array, values: Float32Array, factor: number): void {
  for (let i = 0; i < into.length; i += 1) into[i] = (into[i] as number) + factor * (values[i] as number);
}
