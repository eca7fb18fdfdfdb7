import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { splitWords } from './pre-tokenizer.ts';

test('words, numbers, punctuation and English endings are words of their own, a space belongs to the next word', () => {
  expect(splitWords("We'll pay $1,000 (now)  or\n\nnever.")).toEqual([
    'We',
    "'ll",
    ' pay',
    ' $',
    '1',
    ',',
    '000',
    ' (',
    'now',
    ')',
    ' ',
    ' or',
    '\n',
    '\n',
    'never',
    '.',
  ]);
});

test('words joined are the text', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0x10ffff })), (points) => {
      const text = String.fromCodePoint(...points);
      expect(splitWords(text).join('')).toBe(text);
    }),
  );
});
