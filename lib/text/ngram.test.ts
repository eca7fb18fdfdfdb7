import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ngramBaselines } from './ngram.ts';

const ids = (...tokens: number[]): Uint16Array => Uint16Array.from(tokens);
const V = 6;
const tokens = (minLength: number) =>
  fc.array(fc.integer({ min: 0, max: V - 1 }), { minLength, maxLength: 60 }).map((all) => Uint16Array.from(all));

describe('n-gram baselines', () => {
  test('the unigram is add-one smoothed counting', () => {
    // 4 train tokens, 2 ids: p(0) = (3 + 1) / (4 + 2), p(1) = (1 + 1) / (4 + 2).
    const { unigramBitsPerByte } = ngramBaselines(ids(0, 0, 1, 0), ids(0, 1), 2, 2);
    expect(unigramBitsPerByte).toBeCloseTo(-(Math.log2(4 / 6) + Math.log2(2 / 6)) / 2, 12);
  });

  test('the bigram of a sequence that alternates is far below its unigram', () => {
    const alternating = Uint16Array.from({ length: 1_000 }, (_, i) => i % 2);
    const { unigramBitsPerByte, bigramBitsPerByte } = ngramBaselines(alternating, alternating, 1_000, 2);
    expect(unigramBitsPerByte).toBeCloseTo(1, 2);
    expect(bigramBitsPerByte).toBeLessThan(0.01);
  });

  test('probabilities after any context sum to one, seen or not', () => {
    fc.assert(
      fc.property(tokens(2), fc.integer({ min: 0, max: V - 1 }), (train, context) => {
        const first = ngramBaselines(train, ids(context), 1, V).unigramBitsPerByte;
        let sum = 0;
        for (let next = 0; next < V; next++)
          sum += 2 ** (first - ngramBaselines(train, ids(context, next), 1, V).bigramBitsPerByte);
        expect(sum).toBeCloseTo(1, 9);
      }),
    );
  });

  test('are finite whatever is held out', () => {
    fc.assert(
      fc.property(tokens(2), tokens(1), (train, heldOut) => {
        const { unigramBitsPerByte, bigramBitsPerByte } = ngramBaselines(train, heldOut, heldOut.length, V);
        expect(Number.isFinite(unigramBitsPerByte) && Number.isFinite(bigramBitsPerByte)).toBe(true);
      }),
    );
  });

  test('need tokens on both sides', () => {
    expect(() => ngramBaselines(ids(), ids(1), 1, V)).toThrow('need train and held-out tokens');
    expect(() => ngramBaselines(ids(1, 2), ids(), 1, V)).toThrow('need train and held-out tokens');
  });
});
