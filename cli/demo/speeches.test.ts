import { expect, it } from 'vitest';
import { cutDocuments, textsOf } from './documents.ts';
import { exampleCorpus } from './demo-platform.ts';
import { documentLines, everyFourth, sentences, speeches } from './speeches.ts';

it('speeches of an era are those: the Civil War is in 1830 to 1869, the Soviet Union only in 1920 to 1949', () => {
  const [early, late] = [speeches(1830, 1870), speeches(1920, 1950)];
  expect(early.length + speeches(1870, 1920).length + late.length).toBe(
    textsOf(exampleCorpus('state-of-the-union')).length,
  );
  const share = (texts: readonly string[], word: RegExp): number => texts.filter((text) => word.test(text)).length;
  expect(share(early, /\brebellion\b/)).toBeGreaterThan(10);
  expect(share(late, /\bSoviet\b/)).toBeGreaterThan(3);
  expect(share(early, /\bSoviet\b/)).toBe(0);
});

it('people ask shorter sentences later: the drift is real', () => {
  const mean = (texts: readonly string[]): number => {
    const all = sentences(texts);
    return all.reduce((sum, { length }) => sum + length, 0) / all.length;
  };
  expect(mean(speeches(1930, 1950))).toBeLessThan(0.85 * mean(speeches(1830, 1870)));
});

it('a cut corpus is whole documents, in order, and nothing is lost or in both parts', () => {
  const texts = ['one', 'two', 'three', 'four', 'five'];
  const [first, rest] = cutDocuments(documentLines(texts), 0.6);
  expect([textsOf(first), textsOf(rest)]).toEqual([
    ['one', 'two', 'three'],
    ['four', 'five'],
  ]);
  expect(everyFourth(texts)).toEqual({ fourth: ['four'], others: ['one', 'two', 'three', 'five'] });
});
