import { invariant } from '#lib/kernel/errors.ts';
import type { NamedTensor } from '../formats/safetensors.ts';
import { sizeOf } from '../graph/onnx-model.ts';

export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * Named tensors laid out one after the other in one flat array, in the order of their specs. The engine is bound to views of
 * it, so that the optimiser, clipping and checkpoints are loops over `data`.
 */
export class TensorSet {
  readonly specs: readonly TensorSpec[];
  readonly data: Float32Array;
  private readonly views = new Map<string, Float32Array>();

  constructor(specs: readonly TensorSpec[]) {
    this.specs = specs;
    this.data = new Float32Array(specs.reduce((sum, spec) => sum + sizeOf(spec.shape), 0));
    let offset = 0;
    for (const spec of specs) {
      const size = sizeOf(spec.shape);
      this.views.set(spec.name, this.data.subarray(offset, offset + size));
      offset += size;
    }
  }

  has(name: string): boolean {
    return this.views.has(name);
  }

  view(name: string): Float32Array {
    const view = this.views.get(name);
    invariant(view !== undefined, `no tensor ${name}`);
    return view;
  }

  /** The tensors as the safetensors writer takes them; views, not copies. */
  tensors(): NamedTensor[] {
    return this.specs.map(({ name, shape }) => ({ name, shape, data: this.view(name) }));
  }
}

/** A new set with these tensors: copies where `from` has them, zeros elsewhere. */
export function selectTensors(from: TensorSet, specs: readonly TensorSpec[]): TensorSet {
  const selected = new TensorSet(specs);
  for (const { name } of specs) if (from.has(name)) selected.view(name).set(from.view(name));
  return selected;
}
