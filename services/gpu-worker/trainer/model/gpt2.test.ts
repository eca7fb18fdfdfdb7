import { describe, expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { compileNextToken, compileScoring, compileTraining } from '../programs/causal-lm.ts';
import { referenceLogits } from '../test-support/reference-gpt2.ts';
import { type Gpt2Config, gpt2Tensors, initialWeights } from './gpt2.ts';
import { initialAdapter, mergeAdapter } from './lora.ts';
import { dequantiseNf4 } from './nf4.ts';
import { TensorSet } from './tensor-set.ts';
import { type Model, quantiseModel, trainableTensors } from './weights.ts';

const CONFIG: Gpt2Config = {
  vocabularySize: 30,
  contextLength: 10,
  embeddingSize: 12,
  layers: 2,
  heads: 3,
  // Smooth, so that central differences mean something.
  activation: 'quick_gelu',
  layerNormEpsilon: 1e-5,
  endOfTextId: 29,
};
const SIZE = { batch: 2, length: 8, threads: 1 };
const LORA = { r: 3, alpha: 6, dropout: 0, targetModules: ['c_attn', 'c_proj', 'c_fc'] as const };
const lora = (): { r: number; alpha: number; dropout: number; targetModules: ('c_attn' | 'c_proj' | 'c_fc')[] } => ({
  ...LORA,
  targetModules: [...LORA.targetModules],
});

const fullModel = (): Model => ({ config: CONFIG, base: initialWeights(CONFIG, 0.2, 3) });

/** An adapter whose B is not zero, so that it does something. */
function adaptedModel(): Model {
  const adapter = initialAdapter(CONFIG, lora(), 5);
  const random = mulberry32(6);
  for (let i = 0; i < adapter.tensors.data.length; i += 1) adapter.tensors.data[i] = random.next() - 0.5;
  return { ...fullModel(), adapter };
}

describe('the gradient of the whole model equals central differences', () => {
  const cases: Record<string, () => Model> = {
    full: fullModel,
    lora: adaptedModel,
    qlora: () => quantiseModel(adaptedModel()),
  };
  test.each(Object.keys(cases))('%s', async (name) => {
    const model = cases[name]?.() ?? fullModel();
    const program = await compileTraining(model, SIZE);
    fillRandomBatch(program.batch);
    await program.run();
    const analytic = program.gradients.slice();
    const parameters = trainableTensors(model).data;
    expect(analytic.length).toBe(parameters.length);

    const random = mulberry32(9);
    const largest = analytic.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    expect(largest).toBeGreaterThan(1e-3);
    let differences = 0;
    for (let checked = 0; checked < 150; checked += 1) {
      const at = Math.floor(random.next() * parameters.length);
      const kept = parameters[at] ?? 0;
      const step = 5e-3;
      parameters[at] = kept + step;
      const above = await program.run();
      parameters[at] = kept - step;
      const below = await program.run();
      parameters[at] = kept;
      const numeric = (above - below) / (2 * step);
      expect(Math.abs(numeric - (analytic[at] ?? 0)) / largest).toBeLessThan(0.01);
      if (Math.abs(numeric) > 1e-4) differences += 1;
    }
    expect(differences).toBeGreaterThan(50);
    await program.release();
  });
});

test.each(['relu', 'quick_gelu'] as const)(
  'the graph computes what GPT-2 in plain loops computes (%s)',
  async (activation) => {
    const config = { ...CONFIG, activation };
    const base = initialWeights(config, 0.3, 3);
    // Norms and biases start at 1 and 0, where mistakes in them would not show.
    const random = mulberry32(12);
    for (const { name, shape } of base.specs) {
      if (shape.length === 1) base.view(name).forEach((value, i, view) => void (view[i] = value + random.next() - 0.5));
    }
    const program = await compileScoring({ config, base }, SIZE);
    fillRandomBatch(program.batch);
    const losses = await program.run();
    for (let at = 0; at < SIZE.batch; at += 1) {
      const ids = [...program.batch.ids.subarray(at * SIZE.length, (at + 1) * SIZE.length)];
      referenceLogits(config, base, ids).forEach((logits, position) => {
        const index = at * SIZE.length + position;
        const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
        const expected = total - (logits[program.batch.targets[index] ?? -1] ?? Number.NaN);
        expect(losses[index]).toBeCloseTo(expected, 4);
      });
    }
  },
);

test('a merged adapter gives the logits of the unmerged one', async () => {
  const model = adaptedModel();
  const { adapter } = model;
  if (adapter === undefined) throw new Error('no adapter');
  const untouched = await nextTokenLogits({ config: CONFIG, base: model.base });
  const unmerged = await nextTokenLogits(model);
  mergeAdapter(CONFIG, model.base, adapter);
  const merged = await nextTokenLogits({ config: CONFIG, base: model.base });

  expect(maxDifference(unmerged, untouched)).toBeGreaterThan(0.1);
  expect(maxDifference(unmerged, merged)).toBeLessThan(1e-4);
});

test('a fresh adapter changes nothing', async () => {
  const plain = fullModel();
  const fresh = { ...plain, adapter: initialAdapter(CONFIG, lora(), 5) };
  expect(maxDifference(await nextTokenLogits(fresh), await nextTokenLogits(plain))).toBe(0);
});

test('the 4-bit model computes with the dequantised weights and holds no 32-bit ones', async () => {
  const model = fullModel();
  const quantised = quantiseModel(model);
  expect(quantised.base.has('transformer.h.0.attn.c_attn.weight')).toBe(false);
  const rounded = new TensorSet(gpt2Tensors(CONFIG));
  for (const { name } of rounded.specs) {
    const matrix = quantised.quantised?.get(name);
    rounded.view(name).set(matrix === undefined ? model.base.view(name) : dequantiseNf4(matrix));
  }
  const logits = await nextTokenLogits(quantised);
  expect(maxDifference(logits, await nextTokenLogits({ config: CONFIG, base: rounded }))).toBeLessThan(1e-5);
  expect(maxDifference(logits, await nextTokenLogits(model))).toBeGreaterThan(1e-3);
});

test('no position sees what comes after it', async () => {
  const program = await compileScoring(fullModel(), SIZE);
  fillRandomBatch(program.batch);
  const before = (await program.run()).slice();
  // Position 5 of the first row: only its own and later losses of that row may change.
  program.batch.ids[5] = ((program.batch.ids[5] ?? 0) + 1) % 29;
  const after = (await program.run()).slice();
  expect(after.slice(0, 5)).toEqual(before.slice(0, 5));
  expect(after.slice(8)).toEqual(before.slice(8));
  expect(after.slice(5, 8)).not.toEqual(before.slice(5, 8));
});

test('an untrained model is as good as guessing', async () => {
  const program = await compileTraining({ config: CONFIG, base: initialWeights(CONFIG, 0.02, 1) }, SIZE);
  fillRandomBatch(program.batch);
  expect(await program.run()).toBeCloseTo(Math.log(CONFIG.vocabularySize), 1);
});

test('equal seeds give equal weights, other seeds other ones', () => {
  const weights = (seed: number): Float32Array => initialWeights(CONFIG, 0.02, seed).data;
  expect(weights(1)).toEqual(weights(1));
  expect(weights(1)).not.toEqual(weights(2));
});

async function nextTokenLogits(model: Model): Promise<Float32Array> {
  const program = await compileNextToken(model, SIZE);
  const random = mulberry32(4);
  for (let i = 0; i < program.ids.length; i += 1) program.ids[i] = Math.floor(random.next() * 29);
  program.rows.set([7, 12]);
  const logits = (await program.run()).slice();
  await program.release();
  return logits;
}

function fillRandomBatch(batch: { ids: Int32Array; targets: Int32Array; weights: Float32Array }): void {
  const random = mulberry32(2);
  for (let i = 0; i < batch.ids.length; i += 1) {
    batch.ids[i] = Math.floor(random.next() * 29);
    batch.targets[i] = Math.floor(random.next() * 29);
    batch.weights[i] = 1 / batch.ids.length;
  }
}

const maxDifference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((max, value, index) => Math.max(max, Math.abs(value - (b[index] ?? Number.NaN))), 0);
