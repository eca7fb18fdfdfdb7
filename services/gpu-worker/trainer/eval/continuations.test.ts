import { expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { type Gpt2Config, initialWeights } from '../model/gpt2.ts';
import { initialAdapter } from '../model/lora.ts';
import { type Model, quantiseModel } from '../model/weights.ts';
import { compileNextToken } from '../programs/causal-lm.ts';
import { compileDecoder, type DecoderProgram } from '../programs/decoder.ts';
import { continuePrompts } from './continuations.ts';

const CONFIG: Gpt2Config = {
  vocabularySize: 30,
  contextLength: 10,
  embeddingSize: 12,
  layers: 2,
  heads: 3,
  activation: 'relu',
  layerNormEpsilon: 1e-5,
  endOfTextId: 29,
};
const END = CONFIG.endOfTextId;

function models(): Record<string, Model> {
  const full = { config: CONFIG, base: initialWeights(CONFIG, 0.3, 3) };
  const lora = initialAdapter(CONFIG, { r: 3, alpha: 6, dropout: 0, targetModules: ['c_attn', 'c_fc'] }, 5);
  const random = mulberry32(6);
  for (let i = 0; i < lora.tensors.data.length; i += 1) lora.tensors.data[i] = random.next() - 0.5;
  return { full, lora: { ...full, adapter: lora }, qlora: quantiseModel({ ...full, adapter: lora }) };
}

test.each(['full', 'lora', 'qlora'])(
  'with its cache the decoder gives the logits of the whole window (%s)',
  async (name) => {
    const model = models()[name];
    if (model === undefined) throw new Error(name);
    const size = { batch: 3, length: 10, threads: 1 };
    const decoder = await compileDecoder(model, size);
    const whole = await compileNextToken(model, size);
    const random = mulberry32(8);
    const ids = Int32Array.from({ length: 30 }, () => Math.floor(random.next() * 30));
    whole.ids.set(ids);
    // Twice: what the first text left in the cache must not be seen.
    for (let pass = 0; pass < 2; pass += 1) {
      decoder.reset();
      for (let position = 0; position < 10; position += 1) {
        for (let row = 0; row < 3; row += 1) {
          decoder.ids[row] = ids[row * 10 + position] ?? 0;
          whole.rows[row] = row * 10 + position;
        }
        const [cached, expected] = [await decoder.step(), await whole.run()];
        const worst = cached.reduce(
          (max, value, at) => Math.max(max, Math.abs(value - (expected[at] ?? Number.NaN))),
          0,
        );
        expect(worst).toBeLessThan(1e-4);
      }
    }
    expect(decoder.ids.length).toBe(3);
    await decoder.release();
    await whole.release();
  },
);

/** A model that is certain of (last token + 1). */
function counting(rows: number, length: number): DecoderProgram & { seen: number[][] } {
  const ids = new Int32Array(rows);
  const seen: number[][] = [];
  return {
    rows,
    length,
    ids,
    seen,
    reset: () => void seen.splice(0),
    step() {
      seen.push([...ids]);
      const logits = new Float32Array(rows * 30).fill(-50);
      ids.forEach((id, row) => {
        logits[row * 30 + ((id + 1) % 30)] = 50;
      });
      return Promise.resolve(logits);
    },
    release: () => Promise.resolve(),
  };
}

const options = (tokens: number): Parameters<typeof continuePrompts>[2] => ({
  tokens,
  temperature: 1,
  endOfTextId: END,
  random: mulberry32(1),
  afterToken: () => undefined,
});

test('prompts of unequal length each continue from their own end', async () => {
  const program = counting(3, 20);
  expect(await continuePrompts(program, [[5], [1, 2, 3], [27]], options(3))).toEqual([
    [6, 7, 8],
    [4, 5, 6],
    [28, END],
  ]);
  expect(program.seen.slice(0, 3)).toEqual([
    [5, 1, 27],
    [6, 2, 28],
    [7, 3, END],
  ]);
});

test('nothing is sampled beyond the length of the program, and nothing runs when all rows have ended', async () => {
  expect(await continuePrompts(counting(1, 5), [[1, 2, 3]], options(9))).toEqual([[4, 5]]);
  const ended = counting(1, 20);
  expect(await continuePrompts(ended, [[27]], options(9))).toEqual([[28, END]]);
  expect(ended.seen).toHaveLength(2);
});

test('a row’s text does not depend on when the others end', async () => {
  const { full } = models();
  if (full === undefined) throw new Error('no model');
  const decoder = await compileDecoder(full, { batch: 2, length: 10, threads: 1 });
  const text = async (other: number[]): Promise<number[] | undefined> =>
    (await continuePrompts(decoder, [[3, 4], other], { ...options(8), random: mulberry32(3) }))[0];
  expect(await text([7, 8])).toEqual(await text([11, 12]));
  await decoder.release();
});
