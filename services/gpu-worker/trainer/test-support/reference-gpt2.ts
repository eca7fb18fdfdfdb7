import type { Gpt2Config } from '../model/gpt2.ts';
import type { TensorSet } from '../model/tensor-set.ts';

type Matrix = number[][];

/**
 * GPT-2's forward pass in plain loops, written from its paper and `modeling_gpt2.py`, sharing nothing with the graph: head
 * order, the order of q, k, v in c_attn, orientation of weights and the tied head must all agree with it. Only for tests.
 * Returns the logits of every position of one sequence.
 */
export function referenceLogits(config: Gpt2Config, weights: TensorSet, ids: readonly number[]): Matrix {
  const wte = matrix(weights, 'transformer.wte.weight', config.embeddingSize);
  const wpe = matrix(weights, 'transformer.wpe.weight', config.embeddingSize);
  let x = ids.map((id, position) => plus(row(wte, id), row(wpe, position)));
  for (let layer = 0; layer < config.layers; layer += 1) {
    const block = `transformer.h.${layer}`;
    const attended = attention(config, weights, normed(config, weights, x, `${block}.ln_1`), `${block}.attn`);
    x = x.map((vector, position) => plus(vector, row(attended, position)));
    const wide = conv1d(weights, normed(config, weights, x, `${block}.ln_2`), `${block}.mlp.c_fc`);
    const active = wide.map((vector) => vector.map((value) => activation(config, value)));
    const narrow = conv1d(weights, active, `${block}.mlp.c_proj`);
    x = x.map((vector, position) => plus(vector, row(narrow, position)));
  }
  return normed(config, weights, x, 'transformer.ln_f').map((vector) => wte.map((token) => dot(token, vector)));
}

function attention(config: Gpt2Config, weights: TensorSet, x: Matrix, name: string): Matrix {
  const { embeddingSize, heads } = config;
  const width = embeddingSize / heads;
  const fused = conv1d(weights, x, `${name}.c_attn`);
  const out = x.map(() => [] as number[]);
  for (let head = 0; head < heads; head += 1) {
    // c_attn's outputs are all queries, then all keys, then all values; heads are consecutive stretches of each.
    const part = (which: number): Matrix =>
      fused.map((vector) =>
        vector.slice(which * embeddingSize + head * width, which * embeddingSize + (head + 1) * width),
      );
    const [q, k, v] = [part(0), part(1), part(2)];
    q.forEach((query, position) => {
      const scores = k.slice(0, position + 1).map((key) => dot(query, key) / Math.sqrt(width));
      const largest = Math.max(...scores);
      const powers = scores.map((score) => Math.exp(score - largest));
      const total = powers.reduce((sum, power) => sum + power, 0);
      for (let column = 0; column < width; column += 1) {
        out[position]?.push(powers.reduce((sum, power, at) => sum + (power / total) * (v[at]?.[column] ?? 0), 0));
      }
    });
  }
  return conv1d(weights, out, `${name}.c_proj`);
}

function normed(config: Gpt2Config, weights: TensorSet, x: Matrix, name: string): Matrix {
  const [scale, bias] = [weights.view(`${name}.weight`), weights.view(`${name}.bias`)];
  return x.map((vector) => {
    const mean = vector.reduce((sum, value) => sum + value, 0) / vector.length;
    const variance = vector.reduce((sum, value) => sum + (value - mean) ** 2, 0) / vector.length;
    const std = Math.sqrt(variance + config.layerNormEpsilon);
    return vector.map((value, index) => ((value - mean) / std) * (scale[index] ?? 0) + (bias[index] ?? 0));
  });
}

/** x @ weight + bias with weight [in, out]. */
function conv1d(weights: TensorSet, x: Matrix, name: string): Matrix {
  const bias = weights.view(`${name}.bias`);
  const weight = matrix(weights, `${name}.weight`, bias.length);
  return x.map((vector) =>
    Array.from(bias, (start, column) =>
      vector.reduce((sum, value, index) => sum + value * (weight[index]?.[column] ?? 0), start),
    ),
  );
}

const activation = (config: Gpt2Config, value: number): number =>
  config.activation === 'relu' ? Math.max(0, value) : value / (1 + Math.exp(-1.702 * value));

function matrix(weights: TensorSet, name: string, columns: number): Matrix {
  const view = weights.view(name);
  return Array.from({ length: view.length / columns }, (_, index) => [
    ...view.subarray(index * columns, (index + 1) * columns),
  ]);
}

const row = (rows: Matrix, index: number): number[] => rows[index] ?? [];
const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((value, index) => value + (b[index] ?? 0));
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
