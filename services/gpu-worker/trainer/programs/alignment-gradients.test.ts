import { describe, expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { fillPooling, fillPredicting, fitSequence, type Sequence } from '../data/sequences.ts';
import { type Gpt2Config, initialWeights } from '../model/gpt2.ts';
import { HEAD, type HeadName, withHead } from '../model/head.ts';
import { initialAdapter } from '../model/lora.ts';
import { type Model, quantiseModel, trainableTensors } from '../model/weights.ts';
import { compilePolicyTraining } from './policy-programs.ts';
import { compilePairs, logProbabilityOfRow, rewardOfRow } from './preference-programs.ts';

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
const LENGTH = 8;
const PAIRS = 3;

/** A model with a head that is not zero, so that every tensor matters. */
function modelWith(head: HeadName | undefined, technique: string): Model {
  const base: Model = { config: CONFIG, base: initialWeights(CONFIG, 0.2, 3) };
  const lora = { r: 3, alpha: 6, dropout: 0, targetModules: ['c_attn' as const, 'c_proj' as const] };
  const adapted = technique === 'full' ? base : { ...base, adapter: initialAdapter(CONFIG, lora, 5) };
  const frozen = technique === 'qlora' ? quantiseModel(adapted) : adapted;
  const model = head === undefined ? frozen : withHead(frozen, head);
  const random = mulberry32(6);
  const { data } = trainableTensors(model);
  for (let i = 0; i < data.length; i += 1) if (technique !== 'full' || data[i] === 0) data[i] = random.next() - 0.5;
  return model;
}

function sequences(count: number): Sequence[] {
  const random = mulberry32(2);
  const ids = (least: number, most: number): Uint16Array => {
    const length = least + Math.floor(random.next() * (most - least + 1));
    return Uint16Array.from({ length }, () => Math.floor(random.next() * 29));
  };
  return Array.from({ length: count }, () => fitSequence(ids(1, 4), ids(1, 6), LENGTH));
}

/** Compares the gradient with central differences at 120 places; answers at how many of them the loss changes. */
async function check(model: Model, gradients: Float32Array, loss: () => Promise<number>): Promise<number> {
  await loss();
  const analytic = gradients.slice();
  const parameters = trainableTensors(model).data;
  expect(analytic.length).toBe(parameters.length);
  const largest = analytic.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  expect(largest).toBeGreaterThan(1e-3);
  const random = mulberry32(9);
  let differences = 0;
  for (let checked = 0; checked < 120; checked += 1) {
    // Half of the places at the end of the array, where the head lies.
    const tail = checked % 2 === 0 ? parameters.length : 40;
    const at = parameters.length - 1 - Math.floor(random.next() * Math.min(tail, parameters.length));
    const kept = parameters[at] ?? 0;
    const step = 5e-3;
    parameters[at] = kept + step;
    const above = await loss();
    parameters[at] = kept - step;
    const below = await loss();
    parameters[at] = kept;
    const numeric = (above - below) / (2 * step);
    expect(Math.abs(numeric - (analytic[at] ?? 0)) / largest).toBeLessThan(0.01);
    if (Math.abs(numeric) > 1e-4) differences += 1;
  }
  return differences;
}

describe('the gradient of every loss equals central differences', () => {
  test.each([
    ['reward', 'full'],
    ['reward', 'lora'],
    ['dpo', 'full'],
    ['dpo', 'lora'],
    ['dpo', 'qlora'],
  ])('%s, %s', async (method, technique) => {
    const model = modelWith(method === 'reward' ? HEAD.reward : undefined, technique);
    const size = { pairs: PAIRS, length: LENGTH, threads: 1 };
    const program =
      method === 'reward'
        ? await compilePairs(model, rewardOfRow, size, 1)
        : await compilePairs(model, logProbabilityOfRow, size, 0.3);
    sequences(2 * PAIRS).forEach((sequence, row) => {
      if (method === 'reward') fillPooling(program.batch, row, sequence, 29, row % 2 === 0 ? 'mean' : 'last');
      else fillPredicting(program.batch, row, sequence, 29);
    });
    program.pairWeights.set([0.5, 0.25, 0.25]);
    program.offsets.set([0.5, -1, 2]);
    expect(await check(model, program.gradients, () => program.run())).toBeGreaterThan(30);
    await program.release();
  });

  test.each(['full', 'lora'])('ppo, %s', async (technique) => {
    const model = modelWith(HEAD.value, technique);
    const settings = { cliprange: 0.2, cliprangeValue: 0.5, vfCoef: 0.7, temperature: 0.8 };
    const program = await compilePolicyTraining(model, { batch: 4, length: LENGTH, threads: 1 }, settings);
    sequences(4).forEach((sequence, row) => fillPredicting(program.batch, row, sequence, 29));
    const { outputs } = await program.run();
    // Away from the kinks: old values that put every token clearly inside or clearly outside of a range.
    for (let at = 0; at < program.oldLogps.length; at += 1) {
      program.oldLogps[at] = (outputs.logps[at] ?? 0) - ([0.05, 0.6, -0.6][at % 3] as number);
      program.advantages[at] = at % 2 === 0 ? 1.3 : -0.7;
      program.oldValues[at] = (outputs.values?.[at] ?? 0) + ([0.1, 2, -2][at % 3] as number);
      program.returns[at] = (outputs.values?.[at] ?? 0) + (at % 2 === 0 ? 3 : -4);
    }
    const differences = await check(model, program.gradients, async () => (await program.run()).loss);
    expect(differences).toBeGreaterThan(30);
    await program.release();
  });
});

test('the loss of pairs is the logistic loss of their weighted differences', async () => {
  const model = modelWith(undefined, 'full');
  const program = await compilePairs(model, logProbabilityOfRow, { pairs: PAIRS, length: LENGTH, threads: 1 }, 0.3);
  sequences(2 * PAIRS).forEach((sequence, row) => fillPredicting(program.batch, row, sequence, 29));
  program.pairWeights.set([0.5, 0.25, 0.25]);
  program.offsets.set([0.5, -1, 2]);
  const loss = await program.run();
  const expected = [0, 1, 2].reduce((sum, pair) => {
    const difference = (program.values[pair] ?? 0) - (program.values[PAIRS + pair] ?? 0) - (program.offsets[pair] ?? 0);
    return sum + (program.pairWeights[pair] ?? 0) * Math.log(1 + Math.exp(-0.3 * difference));
  }, 0);
  expect(loss).toBeCloseTo(expected, 5);
  for (const value of program.values) expect(value).toBeLessThan(0);
  await program.release();
});

test('a sequence that does not fit loses the end of its completion first and then the start of its prompt', () => {
  const ids = (...values: number[]): Uint16Array => Uint16Array.from(values);
  expect(fitSequence(ids(1, 2, 3), ids(4, 5), 8)).toEqual({ ids: ids(1, 2, 3, 4, 5), promptLength: 3, cut: false });
  expect(fitSequence(ids(1, 2, 3), ids(4, 5), 4)).toEqual({ ids: ids(2, 3, 4, 5), promptLength: 2, cut: true });
  expect(fitSequence(ids(1, 2, 3), ids(4, 5, 6, 7), 3)).toEqual({ ids: ids(3, 4, 5), promptLength: 1, cut: true });
});
