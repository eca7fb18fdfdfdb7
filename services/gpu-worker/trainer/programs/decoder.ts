import { compile } from '../engine.ts';
import { GraphBuilder, sizeOf } from '../graph/onnx-model.ts';
import { linear } from '../graph/ops/linear.ts';
import { Tape } from '../graph/tape.ts';
import { MASKED, TOKEN_EMBEDDING } from '../model/gpt2.ts';
import { gpt2DecoderStep, type LayerCache } from '../model/gpt2-decoder.ts';
import { graphWeights, type Model, weightInputs } from '../model/weights.ts';
import type { BatchSize } from './causal-lm.ts';

/** Sampling one position after the other with a cache of keys and values. */
export interface DecoderProgram {
  readonly rows: number;
  /** Positions the cache holds; no text gets longer than this. */
  readonly length: number;
  /** [rows]: the tokens at the current position, set by the caller before `step`. */
  readonly ids: Int32Array;
  /** Forgets everything: the next step is position 0. */
  reset(): void;
  /** Takes the tokens in and gives the logits [rows * vocabularySize] of the position after them, overwritten by the next step. */
  step(): Promise<Float32Array>;
  release(): Promise<void>;
}

/** Compiles a decoder for `size.batch` rows of up to `size.length` positions. */
export async function compileDecoder(model: Model, size: BatchSize): Promise<DecoderProgram> {
  const { config } = model;
  const { batch, length } = size;
  const tape = new Tape(new GraphBuilder());
  const { graph } = tape;
  const weights = graphWeights(tape, model, { train: false });
  const shape = [batch, config.heads, length, config.embeddingSize / config.heads];
  const ids = new Int32Array(batch);
  const positions = new Int32Array(batch);
  const mask = new Float32Array(length);
  const caches = Array.from({ length: config.layers }, () => ({
    keys: new Float32Array(sizeOf(shape)),
    values: new Float32Array(sizeOf(shape)),
  }));
  const { hidden, fresh } = gpt2DecoderStep(tape, config, weights, {
    ids: graph.input('ids', 'int32', [batch]),
    positions: graph.input('positions', 'int32', [batch]),
    mask: graph.input('mask', 'float32', [1, 1, 1, length]),
    caches: caches.map(
      (_, layer): LayerCache => ({
        keys: graph.input(`cache.keys.${layer}`, 'float32', shape),
        values: graph.input(`cache.values.${layer}`, 'float32', shape),
      }),
    ),
  });
  graph.output('logits', linear(tape, hidden, weights.tensor(TOKEN_EMBEDDING), { transposed: true }));
  const inputs: Record<string, Float32Array | Int32Array> = { ids, positions, mask };
  caches.forEach(({ keys, values }, layer) => {
    inputs[`cache.keys.${layer}`] = keys;
    inputs[`cache.values.${layer}`] = values;
    const layerOf = fresh[layer];
    if (layerOf === undefined) return;
    graph.output(`fresh.keys.${layer}`, layerOf.keys);
    graph.output(`fresh.values.${layer}`, layerOf.values);
  });
  const program = await compile(graph, { inputs: { ...weightInputs(model), ...inputs } }, size);
  let position = 0;
  const reset = (): void => {
    position = 0;
    mask.fill(MASKED);
  };
  reset();
  return {
    rows: batch,
    length,
    ids,
    reset,
    async step() {
      positions.fill(position);
      await program.run();
      caches.forEach(({ keys, values }, layer) => {
        store(keys, program.output(`fresh.keys.${layer}`), shape, position);
        store(values, program.output(`fresh.values.${layer}`), shape, position);
      });
      mask[position] = 0;
      position += 1;
      return program.output('logits');
    },
    release: () => program.release(),
  };
}

/** Writes [batch, heads, 1, width] into [batch, heads, length, width] at `position`. */
function store(cache: Float32Array, fresh: Float32Array, shape: readonly number[], position: number): void {
  const [, , length = 1, width = 1] = shape;
  for (let head = 0; head * width < fresh.length; head += 1) {
    cache.set(fresh.subarray(head * width, (head + 1) * width), (head * length + position) * width);
  }
}
