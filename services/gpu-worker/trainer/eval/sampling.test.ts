import { expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import type { NextTokenProgram } from '../programs/causal-lm.ts';
import { draw, sample, samplePrompts } from './sampling.ts';

const END = 9;
const LENGTH = 4;

/** A model that is certain of (last token + 1), reads only the chosen position, and remembers the windows it saw. */
function counting(rowsCount: number): NextTokenProgram & { seen: number[][] } {
  const ids = new Int32Array(rowsCount * LENGTH);
  const rows = new Int32Array(rowsCount);
  const seen: number[][] = [];
  return {
    ids,
    rows,
    seen,
    run() {
      seen.push([...ids]);
      const logits = new Float32Array(rowsCount * 10).fill(-50);
      rows.forEach((at, row) => {
        logits[row * 10 + (((ids[at] ?? 0) + 1) % 10)] = 50;
      });
      return Promise.resolve(logits);
    },
    release: () => Promise.resolve(),
  };
}

const options = (tokens: number): Parameters<typeof sample>[2] => ({
  tokens,
  temperature: 1,
  endOfTextId: END,
  contextLength: LENGTH,
  random: mulberry32(1),
  afterToken: () => undefined,
});

test('each row continues from its own last token and the window slides past the context', async () => {
  const program = counting(2);
  expect(await sample(program, [[0], [1, 2]], options(5))).toEqual([
    [1, 2, 3, 4, 5],
    [3, 4, 5, 6, 7],
  ]);
  expect(program.seen[0]).toEqual([0, END, END, END, 1, 2, END, END]);
  expect(program.seen[4]).toEqual([1, 2, 3, 4, 3, 4, 5, 6]);
});

test('a row ends at the end-of-text token, the others go on, and nothing runs when all have ended', async () => {
  const program = counting(2);
  expect(await sample(program, [[7], [2]], options(6))).toEqual([[8], [3, 4, 5, 6, 7, 8]]);
  const ended = counting(1);
  expect(await sample(ended, [[7]], options(100))).toEqual([[8]]);
  expect(ended.seen).toHaveLength(2);
});

test('draws follow the softmax of logits over temperature', () => {
  const random = mulberry32(5);
  const logits = Float32Array.from([Math.log(1), Math.log(3), Number.NEGATIVE_INFINITY, Math.log(6)]);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 20_000; i += 1) {
    const id = draw(logits, 1, random);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  expect(counts[2]).toBe(0);
  expect((counts[0] ?? 0) / 20_000).toBeCloseTo(0.1, 1);
  expect((counts[3] ?? 0) / 20_000).toBeCloseTo(0.6, 1);
  expect(Array.from({ length: 50 }, () => draw(logits, 0.01, random))).toEqual(Array.from({ length: 50 }, () => 3));
});

test('prompts are the starts of the first documents; empty documents are passed over', () => {
  const tokens = { ids: Uint16Array.from([1, 2, 3, END, END, 4, END, 5, 6, 7, 8]) };
  expect(samplePrompts(tokens, END, 5, LENGTH)).toEqual([[1, 2], [4], [5, 6]]);
  expect(samplePrompts(tokens, END, 1, LENGTH)).toEqual([[1, 2]]);
});
