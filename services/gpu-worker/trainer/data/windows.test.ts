import { describe, expect, test } from 'vitest';
import type { Tokens } from './token-dataset.ts';
import { TrainingBatches } from './training-batches.ts';
import { type Batch, fillRow, measuringWindows, packedWindows, runningWindows } from './windows.ts';

const END = 99;

const batchOf = (rows: number, length: number): Batch => ({
  ids: new Int32Array(rows * length),
  targets: new Int32Array(rows * length),
  weights: new Float32Array(rows * length),
});

/** Documents as [prompt tokens, completion tokens]; each is closed by END, which counts. */
function rows(...documents: [number[], number[]][]): Tokens {
  const ids = documents.flatMap(([prompt, completion]) => [...prompt, ...completion, END]);
  const mask = documents.flatMap(([prompt, completion]) => [...prompt.map(() => 0), ...completion.map(() => 1), 1]);
  return { ids: Uint16Array.from(ids), mask: Uint8Array.from(mask) };
}

describe('running text', () => {
  test('measuring windows predict every token but the first exactly once', () => {
    const tokens: Tokens = { ids: Uint16Array.from({ length: 23 }, (_, index) => index) };
    const plan = measuringWindows(tokens, 5, END);
    const predicted = Array.from({ length: plan.count }, (_, index) => plan.at(index)).flatMap(({ start, length }) =>
      Array.from({ length: length - 1 }, (_, offset) => start + 1 + offset),
    );
    expect(predicted).toEqual(Array.from({ length: 22 }, (_, index) => index + 1));
  });

  test('training windows are whole and their targets are the next tokens', () => {
    const plan = runningWindows(23, 5, 2, false);
    expect(plan.count).toBe(4);
    const batch = batchOf(1, 5);
    const tokens: Tokens = { ids: Uint16Array.from({ length: 23 }, (_, index) => index) };
    expect(fillRow(batch, 0, 5, tokens, plan.at(3), END)).toBe(5);
    expect([...batch.ids]).toEqual([17, 18, 19, 20, 21]);
    expect([...batch.targets]).toEqual([18, 19, 20, 21, 22]);
  });

  test('an epoch uses every window once, and the next one another order', () => {
    const tokens: Tokens = { ids: Uint16Array.from({ length: 101 }, (_, index) => index) };
    const batches = new TrainingBatches(tokens, { length: 10, seed: 3, endOfTextId: END });
    const epochOf = (): number[] => {
      const firsts: number[] = [];
      const { epoch } = batches.position();
      const batch = batchOf(1, 10);
      do {
        batches.fill(batch);
        firsts.push(batch.ids[0] ?? -1);
      } while (batches.position().cursor < 9 && batches.position().epoch === epoch);
      return firsts;
    };
    const first = epochOf();
    expect(new Set(first).size).toBe(9);
    expect(new Set(first.map((start) => start % 10)).size).toBe(1);
    const second = epochOf();
    expect(second).not.toEqual(first);
  });

  test('a position restores the batches that follow it', () => {
    const tokens: Tokens = { ids: Uint16Array.from({ length: 400 }, (_, index) => index) };
    const options = { length: 10, seed: 3, endOfTextId: END };
    const original = new TrainingBatches(tokens, options);
    const batch = batchOf(4, 10);
    for (let step = 0; step < 17; step += 1) original.fill(batch);
    const resumed = new TrainingBatches(tokens, options, original.position());
    const other = batchOf(4, 10);
    for (let step = 0; step < 30; step += 1) {
      original.fill(batch);
      resumed.fill(other);
      expect([...other.ids]).toEqual([...batch.ids]);
    }
    expect(original.position().epoch).toBeGreaterThan(1);
  });

  test('a text shorter than one sequence is refused', () => {
    const tokens: Tokens = { ids: Uint16Array.from([1, 2, 3]) };
    expect(() => new TrainingBatches(tokens, { length: 10, seed: 1, endOfTextId: END })).toThrow(
      expect.objectContaining({ code: 'TrainerDataTooShort' }),
    );
  });
});

describe('prompt/completion rows', () => {
  test('documents are packed whole, so that every completion keeps its prompt', () => {
    const tokens = rows([[1, 2], [3]], [[4], [5]], [[6, 7, 8], [9]]);
    const plan = packedWindows(tokens, 7, END);
    expect(plan.count).toBe(2);
    expect(plan.at(0)).toEqual({ start: 0, length: 7 });
    expect(plan.at(1)).toEqual({ start: 7, length: 5 });
  });

  test('only completions count, and padding never does', () => {
    const tokens = rows([[1, 2], [3]], [[4], [5]], [[6, 7, 8], [9]]);
    const plan = packedWindows(tokens, 7, END);
    const batch = batchOf(1, 7);
    expect(fillRow(batch, 0, 7, tokens, plan.at(1), END)).toBe(2);
    expect([...batch.ids]).toEqual([6, 7, 8, 9, END, END, END]);
    expect([...batch.targets]).toEqual([7, 8, 9, END, END, END, END]);
    expect([...batch.weights]).toEqual([0, 0, 1, 1, 0, 0, 0]);
  });

  test('a long document is cut so that each of its completion tokens is predicted once', () => {
    const completion = Array.from({ length: 20 }, (_, index) => 10 + index);
    const tokens = rows([[1], [2]], [[3], completion], [[4], [5]]);
    const plan = packedWindows(tokens, 6, END);
    const batch = batchOf(1, 6);
    const counted: number[] = [];
    for (let index = 0; index < plan.count; index += 1) {
      fillRow(batch, 0, 6, tokens, plan.at(index), END);
      batch.weights.forEach((weight, at) => {
        if (weight === 1) counted.push(batch.targets[at] ?? -1);
      });
    }
    expect(counted).toEqual([2, END, ...completion, END, 5, END]);
  });

  test('windows without a completion token are left out, and data without any are refused', () => {
    const silent: Tokens = { ids: Uint16Array.from([1, 2, END]), mask: Uint8Array.from([0, 0, 0]) };
    expect(packedWindows(silent, 4, END).count).toBe(0);
    expect(() => new TrainingBatches(silent, { length: 4, seed: 1, endOfTextId: END })).toThrow(
      expect.objectContaining({ code: 'TrainerDataTooShort' }),
    );
  });
});
