import { invariant } from '#lib/kernel/errors.ts';
import type { Value } from '../graph/onnx-model.ts';
import { add, quickGelu, relu } from '../graph/ops/elementwise.ts';
import { batchedMatMul } from '../graph/ops/linear.ts';
import { embed } from '../graph/ops/lookup.ts';
import { layerNorm, softmax } from '../graph/ops/normalisation.ts';
import { reshape, transpose, unstack } from '../graph/ops/shape.ts';
import type { Tape } from '../graph/tape.ts';
import { blockName, type Gpt2Config, type Gpt2Weights, POSITION_EMBEDDING, TOKEN_EMBEDDING } from './gpt2.ts';

/** Keys and values of one layer: [batch, heads, context, width]. */
export interface LayerCache {
  readonly keys: Value;
  readonly values: Value;
}

export interface DecoderInputs {
  /** [batch] (int32): one token a row. */
  readonly ids: Value;
  /** [batch] (int32): its position, the same for every row. */
  readonly positions: Value;
  /** [1, 1, 1, context]: 0 where the cache holds an earlier position, a large negative number elsewhere. */
  readonly mask: Value;
  readonly caches: readonly LayerCache[];
}

/**
 * The decoder for one further token a row, with what it computed about earlier ones kept in `caches`: hidden states [batch, d] after
 * the last norm, and the keys and values of this token [batch, heads, 1, width], which the caller writes into the caches. Equals
 * `gpt2Hidden` at that position up to rounding, for a fraction of the work.
 */
export function gpt2DecoderStep(
  tape: Tape,
  config: Gpt2Config,
  weights: Gpt2Weights,
  inputs: DecoderInputs,
): { hidden: Value; fresh: LayerCache[] } {
  const norm = (x: Value, name: string): Value =>
    layerNorm(tape, x, weights.tensor(`${name}.weight`), weights.tensor(`${name}.bias`), config.layerNormEpsilon);
  const activate = config.activation === 'relu' ? relu : quickGelu;
  const fresh: LayerCache[] = [];
  let x = add(
    tape,
    embed(tape, weights.tensor(TOKEN_EMBEDDING), inputs.ids),
    embed(tape, weights.tensor(POSITION_EMBEDDING), inputs.positions),
  );
  inputs.caches.forEach((cache, layer) => {
    const block = blockName(layer);
    const attended = attendToCache(
      tape,
      config,
      weights,
      norm(x, `${block}.ln_1`),
      `${block}.attn`,
      cache,
      inputs.mask,
    );
    fresh.push(attended.fresh);
    x = add(tape, x, attended.output);
    const widened = activate(tape, weights.linear(norm(x, `${block}.ln_2`), `${block}.mlp.c_fc`));
    x = add(tape, x, weights.linear(widened, `${block}.mlp.c_proj`));
  });
  return { hidden: norm(x, 'transformer.ln_f'), fresh };
}

/** Attention of one token to the cache and to itself; its own score is appended, so that the cache need not be copied. */
function attendToCache(
  tape: Tape,
  config: Gpt2Config,
  weights: Gpt2Weights,
  x: Value,
  name: string,
  cache: LayerCache,
  mask: Value,
): { output: Value; fresh: LayerCache } {
  const { graph } = tape;
  const { embeddingSize, heads } = config;
  const [batch = 0] = x.shape;
  const [, , context = 0] = cache.keys.shape;
  const width = embeddingSize / heads;
  const fused = reshape(tape, weights.linear(x, `${name}.c_attn`), [batch, 1, 3, heads, width]);
  const [query, key, value] = unstack(tape, transpose(tape, fused, [2, 0, 3, 1, 4]));
  invariant(query !== undefined && key !== undefined && value !== undefined, 'queries, keys and values');
  const alpha = 1 / Math.sqrt(width);
  const earlier = batchedMatMul(tape, query, cache.keys, { transposed: true, alpha });
  const own = batchedMatMul(tape, query, key, { transposed: true, alpha });
  const all = [batch, heads, 1, context + 1];
  const scores = graph.node('Concat', [graph.node('Add', [earlier, mask], earlier.shape), own], all, {
    attributes: { axis: 3 },
  });
  const probabilities = softmax(tape, scores);
  const part = (begin: number, end: number): Value =>
    graph.node(
      'Slice',
      [probabilities, graph.integers([begin]), graph.integers([end]), graph.integers([3])],
      [batch, heads, 1, end - begin],
    );
  const mixed = add(
    tape,
    batchedMatMul(tape, part(0, context), cache.values, { transposed: false, alpha: 1 }),
    batchedMatMul(tape, part(context, context + 1), value, { transposed: false, alpha: 1 }),
  );
  const output = weights.linear(reshape(tape, mixed, [batch, embeddingSize]), `${name}.c_proj`);
  return { output, fresh: { keys: key, values: value } };
}
