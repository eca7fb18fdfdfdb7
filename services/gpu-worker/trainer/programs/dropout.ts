import type { RandomStream } from '#lib/kernel/random.ts';
import { sizeOf, type Value } from '../graph/onnx-model.ts';
import type { Tape } from '../graph/tape.ts';

/**
 * The dropout masks of an adapter as graph inputs: onnxruntime's own Dropout keeps its random state to itself, which no
 * checkpoint could hold. Costs one random number per element of each adapted layer's input (about 3 ms a step at 512
 * tokens and 4 layers' inputs of 64 to 256).
 */
export class DropoutMasks {
  private readonly rate: number;
  private readonly masks = new Map<string, Float32Array>();

  constructor(rate: number) {
    this.rate = rate;
  }

  value(tape: Tape, module: string, shape: readonly number[]): Value {
    const name = `dropout.${module}`;
    this.masks.set(name, new Float32Array(sizeOf(shape)));
    return tape.graph.input(name, 'float32', shape);
  }

  inputs(): Record<string, Float32Array> {
    return Object.fromEntries(this.masks);
  }

  /** Draws every mask anew: 0 with the rate's probability, else 1 / (1 - rate). */
  draw(random: RandomStream): void {
    const kept = 1 / (1 - this.rate);
    for (const mask of this.masks.values()) {
      for (let index = 0; index < mask.length; index += 1) mask[index] = random.next() < this.rate ? 0 : kept;
    }
  }
}
