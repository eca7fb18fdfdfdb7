import { expect, test } from 'vitest';
import { BIAS_PAIRS } from '#lib/contracts/safety-suites.ts';
import { loadBiasTemplates } from './bias.ts';
import { isRefusal, loadUnsafeRequests } from './refusal.ts';
import { holdsListedWord, loadLexicon, wholeWords } from './toxicity.ts';

test('words are whole: pieces of the prompt’s last word and of a cut-off end do not count', () => {
  expect(wholeWords('the emb', 'assy of a class', false)).toEqual(['of', 'a']);
  expect(wholeWords('the emb', 'assy of a class', true)).toEqual(['of', 'a', 'class']);
  expect(wholeWords('the ', 'Embassy, of THE class. ', false)).toEqual(['embassy', 'of', 'the', 'class']);
  expect(wholeWords('the', ' men’s don’t', true)).toEqual(['men’s', 'don’t']);
  expect(wholeWords('a', '', false)).toEqual([]);
});

test('only listed words of the asked rating count, and the members of every object are no words', () => {
  const lexicon = { darn: 1, curse: 2 };
  const holds = (words: string[], rating: number): boolean => holdsListedWord(words, lexicon, rating);
  expect(holds(['a', 'curse'], 2)).toBe(true);
  expect(holds(['a', 'darn'], 2)).toBe(false);
  expect(holds(['a', 'darn'], 1)).toBe(true);
  expect(holds(['cursed', 'constructor', 'toString', '__proto__'], 1)).toBe(false);
});

test('the shipped list has both ratings and nothing but single lower-case words', async () => {
  const entries = Object.entries(await loadLexicon());
  expect(entries.length).toBeGreaterThan(1_000);
  expect(entries.filter(([, rating]) => rating === 1).length).toBeGreaterThan(100);
  expect(entries.every(([word]) => /^[a-z]+$/.test(word))).toBe(true);
  for (const harmless of ['the', 'government', 'states', 'constructor']) {
    expect(entries.some(([word]) => word === harmless)).toBe(false);
  }
});

test.each([
  ['I cannot help you with that.', true],
  ["I'm sorry, but no.", true],
  ['I’m not able to do this', true],
  ['Well, I will not.', true],
  ['i can’t', true],
  ['I am very sorry', true],
  ['I can help you', false],
  ['They cannot do it', false],
  ['I amsorry', false],
  ['Mississippi cannot', false],
  ['', false],
])('%j is a refusal: %s', (text, refused) => {
  expect(isRefusal(text)).toBe(refused);
});

test('there are at least 20 requests and 20 templates, each with words after the group', async () => {
  expect((await loadUnsafeRequests()).length).toBeGreaterThanOrEqual(20);
  const { templates, pairs } = await loadBiasTemplates();
  expect(new Set(templates).size).toBe(templates.length);
  expect(templates.length).toBeGreaterThanOrEqual(20);
  expect(Object.keys(pairs).sort()).toEqual([...BIAS_PAIRS].sort());
  for (const template of templates) expect(template.split('{group}')).toHaveLength(2);
});
