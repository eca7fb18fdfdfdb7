import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nearDuplicateIndex } from './near-duplicates.ts';

const text = (words: readonly (string | number)[]) => ({ prompt: '', text: words.join(' ') });
/** `count` different words that begin with `start`. */
const words = (count: number, start = 'w'): string[] => Array.from({ length: count }, (_, i) => `${start}${i}`);

describe('near-duplicate removal', () => {
  test('finds a page with one word of 300 changed, and finds it by any word', () => {
    const page = words(300);
    let found = 0;
    for (let at = 0; at < 300; at += 10) {
      const index = nearDuplicateIndex(0.9, 1);
      expect(index.isNearDuplicate(text(page))).toBe(false);
      if (index.isNearDuplicate(text(page.with(at, 'other')))) found += 1;
    }
    // Similarity 0.967, estimated with a standard error of 0.016: one in a thousand is missed.
    expect(found).toBeGreaterThanOrEqual(29);
  });

  test('ignores case', () => {
    const index = nearDuplicateIndex(0.9, 1);
    expect(index.isNearDuplicate(text(words(50)))).toBe(false);
    expect(index.isNearDuplicate({ prompt: '', text: words(50).join(' ').toUpperCase() })).toBe(true);
  });

  test('keeps short texts that differ in a sign', () => {
    const index = nearDuplicateIndex(0.9, 1);
    expect(index.isNearDuplicate({ prompt: '', text: 'What is 2+2?' })).toBe(false);
    expect(index.isNearDuplicate({ prompt: '', text: 'What is 2-2?' })).toBe(false);
    expect(index.isNearDuplicate({ prompt: '', text: 'what is 2+2?' })).toBe(true);
  });

  test('keeps rows that share a long prompt and differ in their completion', () => {
    const index = nearDuplicateIndex(0.9, 1);
    const prompt = words(300).join(' ');
    expect(index.isNearDuplicate({ prompt, text: 'yes, it is' })).toBe(false);
    expect(index.isNearDuplicate({ prompt, text: 'no, never' })).toBe(false);
    expect(index.isNearDuplicate({ prompt: prompt.replace('w7 ', 'x '), text: 'no, never' })).toBe(true);
  });

  test('keeps rows that share a long completion and differ in their prompt', () => {
    const index = nearDuplicateIndex(0.9, 1);
    const completion = words(300).join(' ');
    expect(index.isNearDuplicate({ prompt: 'one', text: completion })).toBe(false);
    expect(index.isNearDuplicate({ prompt: 'two', text: completion })).toBe(false);
  });

  // Jaccard similarity of two pages of n shingles that share s: s / (2n - s). Standard error 0.03-0.045.
  test.each([0.5, 0.6, 0.7, 0.8, 0.9])(
    'at threshold %d removes what is clearly above it and keeps what is clearly below',
    (threshold) => {
      const shared = (similarity: number): number => Math.round((600 * 2 * similarity) / (1 + similarity));
      let [above, below] = [0, 0];
      for (let trial = 0; trial < 40; trial++) {
        const head = words(600, `t${trial}-`);
        const pageWith = (similarity: number, tail: string): string[] => [
          ...head.slice(0, shared(similarity)),
          ...words(600 - shared(similarity), `${tail}${trial}-`),
        ];
        for (const [offset, count] of [
          [0.09, () => (above += 1)],
          [-0.13, () => (below += 1)],
        ] as const) {
          const index = nearDuplicateIndex(threshold, trial);
          index.isNearDuplicate(text(head));
          if (index.isNearDuplicate(text(pageWith(threshold + offset, 'x')))) count();
        }
      }
      expect(above).toBeGreaterThanOrEqual(36);
      expect(below).toBeLessThanOrEqual(2);
    },
  );

  test('at threshold 1 is off', () => {
    const index = nearDuplicateIndex(1, 1);
    expect([1, 2].map(() => index.isNearDuplicate(text(words(50))))).toEqual([false, false]);
  });

  test('decides the same every time', () => {
    const pages = fc.array(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 30 }));
    fc.assert(
      fc.property(pages, fc.integer({ min: 0, max: 2 ** 32 - 1 }), (all, seed) => {
        const decide = (): boolean[] => {
          const index = nearDuplicateIndex(0.7, seed);
          return all.map((page) => index.isNearDuplicate(text(page)));
        };
        expect(decide()).toEqual(decide());
      }),
    );
  });

  test('takes bounded time on thousands of forms that are all alike but not enough', () => {
    const index = nearDuplicateIndex(0.95, 1);
    const form = words(200);
    let removed = 0;
    for (let i = 0; i < 3_000; i++) if (index.isNearDuplicate(text([...form, ...words(40, `form${i}-`)]))) removed += 1;
    expect(removed).toBeLessThan(300);
  });
});
