import { sizeOf } from '../graph/onnx-model.ts';
import type { TensorSet } from '../model/tensor-set.ts';

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly weightDecay: number;
}

const EPSILON = 1e-8;

/**
 * AdamW (Loshchilov and Hutter 2019) over the flat array of a tensor set. Weight decay touches matrices only: shrinking
 * biases and norms hurts and saves nothing. `firstMoment` and `secondMoment` are its whole state besides the step.
 */
export class AdamW {
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
  private readonly parameters: Float32Array;
  private readonly segments: readonly { begin: number; end: number; decays: boolean }[];
  private readonly options: AdamWOptions;

  constructor(tensors: TensorSet, options: AdamWOptions) {
    this.parameters = tensors.data;
    this.firstMoment = new Float32Array(tensors.data.length);
    this.secondMoment = new Float32Array(tensors.data.length);
    this.options = options;
    let begin = 0;
    this.segments = tensors.specs.map(({ shape }) => {
      const segment = { begin, end: begin + sizeOf(shape), decays: shape.length >= 2 };
      begin = segment.end;
      return segment;
    });
  }

  /** Applies optimiser step `step` (from 1) with `gradients * gradientScale`. */
  update(gradients: Float32Array, gradientScale: number, learningRate: number, step: number): void {
    const { beta1, beta2, weightDecay } = this.options;
    const correction1 = 1 - beta1 ** step;
    const correction2 = 1 - beta2 ** step;
    const { parameters, firstMoment, secondMoment } = this;
    for (const { begin, end, decays } of this.segments) {
      const keep = decays ? 1 - learningRate * weightDecay : 1;
      for (let i = begin; i < end; i += 1) {
        const g = (gradients[i] as number) * gradientScale;
        const m = beta1 * (firstMoment[i] as number) + (1 - beta1) * g;
        const v = beta2 * (secondMoment[i] as number) + (1 - beta2) * g * g;
        firstMoment[i] = m;
        secondMoment[i] = v;
        const direction = m / correction1 / (Math.sqrt(v / correction2) + EPSILON);
        parameters[i] = (parameters[i] as number) * keep - learningRate * direction;
      }
    }
  }
}

/** Global L2 norm. */
export function norm(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) sum += (values[i] as number) * (values[i] as number);
  return Math.sqrt(sum);
}

/** The factor that brings a gradient of norm `gradientNorm` down to `limit`; 0 as limit = never. */
export const clipScale = (gradientNorm: number, limit: number): number =>
  limit > 0 && gradientNorm > limit ? limit / gradientNorm : 1;
