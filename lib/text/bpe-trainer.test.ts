import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bpeTrainer, type Merges } from './bpe-trainer.ts';
import { splitWords } from './pre-tokenizer.ts';
import { loadTokenizer, tokenizerJson } from './tokenizer.ts';

function learn(texts: readonly string[], vocabularySize: number): Merges {
  const trainer = bpeTrainer();
  for (const text of texts) trainer.add(text);
  return trainer.train(vocabularySize);
}

const texts = fc.array(
  fc.array(fc.constantFrom('a', 'b', 'c', ' ', 'é'), { maxLength: 40 }).map((all) => all.join('')),
);

describe('training a tokenizer', () => {
  test('merges the most frequent pair first', () => {
    expect(learn(['xy xy xy ab ab'], 258)).toEqual([[120, 121]]);
  });

  test('breaks ties by the lowest left id, then the lowest right id', () => {
    expect(learn(['zq zq ca ca cb cb'], 258)).toEqual([[32, 99]]);
    expect(learn(['zq\nzq\ncb\ncb\nca\nca'], 260)).toEqual([
      [99, 97],
      [99, 98],
      [122, 113],
    ]);
  });

  test('stops before the size asked for when no pair occurs twice', () => {
    expect(learn(['abcdef'], 1_024)).toEqual([]);
    expect(loadTokenizer(tokenizerJson(learn([], 1_024))).vocabularySize).toBe(257);
  });

  test('does not depend on the order of the texts', () => {
    fc.assert(
      fc.property(texts, (all) => {
        expect(learn([...all].reverse(), 300)).toEqual(learn(all, 300));
      }),
    );
  });

  test('gives what counting all pairs anew after every merge gives', () => {
    fc.assert(
      fc.property(texts, (all) => {
        expect(learn(all, 280)).toEqual(slowLearn(all, 280));
      }),
    );
  });

  test('never makes more tokens than asked for, each a different one', () => {
    fc.assert(
      fc.property(texts, fc.integer({ min: 257, max: 290 }), (all, size) => {
        expect(loadTokenizer(tokenizerJson(learn(all, size))).vocabularySize).toBeLessThanOrEqual(size);
      }),
    );
  });

  test('leaves words of more than 4 kB out', () => {
    expect(learn(['q'.repeat(5_000)], 300)).toEqual([]);
  });

  test('refuses a vocabulary without room for the bytes and one that does not fit 16 bits', () => {
    expect(() => learn([], 256)).toThrow('outside 257..65536');
    expect(() => learn([], 65_537)).toThrow('outside 257..65536');
  });
});

function slowLearn(all: readonly string[], vocabularySize: number): Merges {
  const bytes = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
  const tokens = [...bytes];
  let words = all.flatMap((text) => splitWords(text).map((word) => [...new TextEncoder().encode(word)]));
  const merges: [number, number][] = [];
  while (tokens.length + 1 < vocabularySize) {
    const counts = new Map<string, number>();
    for (const word of words)
      for (let i = 0; i + 1 < word.length; i++) {
        const key = `${word[i]},${word[i + 1]}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    const [best] = [...counts]
      .filter(([, count]) => count >= 2)
      .map(([key, count]) => ({ pair: key.split(',').map(Number) as [number, number], count }))
      .sort((a, b) => b.count - a.count || a.pair[0] - b.pair[0] || a.pair[1] - b.pair[1]);
    if (best === undefined) break;
    const [left, right] = best.pair;
    const token = `${tokens[left]}${tokens[right]}`;
    if (!tokens.includes(token)) tokens.push(token);
    const id = tokens.indexOf(token);
    merges.push(best.pair);
    words = words.map((word) => {
      const out: number[] = [];
      for (let i = 0; i < word.length; i++)
        if (word[i] === left && word[i + 1] === right) {
          out.push(id);
          i += 1;
        } else out.push(word[i] as number);
      return out;
    });
  }
  return merges;
}
