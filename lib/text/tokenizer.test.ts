import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bpeTrainer } from './bpe-trainer.ts';
import { loadTokenizer, type Tokenizer, tokenizerJson } from './tokenizer.ts';

const SAMPLE =
  'Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, and nothing ' +
  'particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is a ' +
  "way I have of driving off the spleen and regulating the circulation. I'll say: the sea, the sea, the wonderful sea!";

function sampleTokenizer(): Tokenizer {
  const trainer = bpeTrainer();
  trainer.add(SAMPLE);
  return loadTokenizer(tokenizerJson(trainer.train(320)));
}

/** What Rust `tokenizers` 0.23.3 and `@huggingface/tokenizers` 0.2.0 give for the tokenizer.json of `sampleTokenizer`. */
const GOLDEN: readonly (readonly [text: string, ids: readonly number[]])[] = [
  ['Call me Ishmael', [67, 97, 291, 294, 262, 115, 104, 109, 97, 289]],
  ["I'll see the sea, it's there", [73, 39, 291, 271, 101, 261, 283, 44, 32, 290, 39, 115, 261, 279]],
  [
    '  two  spaces \n\n tab\tend  ',
    [32, 256, 119, 111, 32, 257, 112, 97, 99, 101, 115, 32, 10, 10, 256, 97, 98, 9, 101, 270, 32, 32],
  ],
  [
    'naïve “quotes” 😀 日本語',
    [
      110, 97, 195, 175, 118, 101, 32, 226, 128, 156, 113, 117, 111, 116, 101, 115, 226, 128, 157, 32, 240, 159, 152,
      128, 32, 230, 151, 165, 230, 156, 172, 232, 170, 158,
    ],
  ],
  ['a\u0085b \ufeffc', [97, 194, 133, 98, 32, 239, 187, 191, 99]],
  ['nb\u00a0sp \u2003em', [110, 98, 194, 160, 115, 112, 32, 226, 128, 131, 101, 109]],
  ['1234 5.90 ½', [49, 50, 51, 52, 32, 53, 46, 57, 48, 32, 194, 189]],
  ['the the\u0301 \u0000', [116, 104, 101, 261, 204, 129, 32, 0]],
];

const anyString = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 0x10ffff })).map((points) => String.fromCodePoint(...points)),
  fc.string({ unit: 'grapheme' }),
  fc.array(fc.constantFrom(...SAMPLE.split(' '), ' ', '\n', "'ll", '😀')).map((words) => words.join(' ')),
  // Any UTF-16 units, lone surrogates among them.
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
);

describe('a tokenizer', () => {
  const tokenizer = sampleTokenizer();

  test.each(GOLDEN)('gives the ids of the Hugging Face libraries for %j', (text, ids) => {
    expect([...tokenizer.encode(text)]).toEqual(ids);
  });

  test('decodes what it encoded, lone surrogates as U+FFFD', () => {
    fc.assert(
      fc.property(anyString, (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.toWellFormed());
      }),
      { numRuns: 500 },
    );
  });

  test('merges as the definition says: always the lowest rank, leftmost first', () => {
    const model = JSON.parse(sampleJson()) as { model: { vocab: Record<string, number>; merges: [string, string][] } };
    fc.assert(
      fc.property(fc.array(fc.constantFrom('t', 'h', 'e', 's', 'a', 'l', 'i'), { minLength: 1 }), (letters) => {
        expect([...tokenizer.encode(letters.join(''))]).toEqual(slowMerge(letters, model.model));
      }),
    );
  });

  test('never makes an end of text out of data', () => {
    const ids = [...tokenizer.encode('a<|endoftext|>b')];
    expect(ids).not.toContain(tokenizer.endOfTextId);
    expect(tokenizer.decode(ids)).toBe('a<|endoftext|>b');
  });

  test('has the end of text as its last id and shows it in decoded text', () => {
    expect(tokenizer.endOfTextId).toBe(tokenizer.vocabularySize - 1);
    expect(tokenizer.decode([104, tokenizer.endOfTextId])).toBe('h<|endoftext|>');
  });

  test('refuses to decode an id outside its vocabulary', () => {
    expect(() => tokenizer.decode([tokenizer.vocabularySize])).toThrow(RangeError);
  });

  test('shows a character that was cut in two as U+FFFD', () => {
    expect(tokenizer.decode([...tokenizer.encode('é')].slice(0, 1))).toBe('\ufffd');
  });

  test('takes n log n time for a document that is one word', () => {
    const word = 'these'.repeat(100_000);
    expect(tokenizer.decode(tokenizer.encode(word))).toBe(word);
  });
});

describe('a tokenizer.json', () => {
  test('has one id for two merges that make the same bytes', () => {
    const tokenizer = loadTokenizer(
      tokenizerJson([
        [97, 98],
        [98, 99],
        [256, 99],
        [97, 257],
      ]),
    );
    expect(tokenizer.vocabularySize).toBe(256 + 3 + 1);
    expect([...tokenizer.encode('abc')]).toEqual([258]);
  });

  test('may write merges as strings and give any id to a byte', () => {
    const document = JSON.parse(sampleJson()) as { model: { vocab: Record<string, number>; merges: unknown[] } };
    document.model.merges = (document.model.merges as [string, string][]).map((pair) => pair.join(' '));
    const { vocab } = document.model;
    [vocab['a'], vocab['b']] = [98, 97];
    expect([...loadTokenizer(JSON.stringify(document)).encode('qab')]).toEqual([113, 98, 97]);
  });

  const broken: readonly (readonly [what: string, change: (document: Record<string, object>) => unknown])[] = [
    ['that is not JSON', () => '{'],
    ['that is not an object', () => '[]'],
    ['without a model', (d) => ({ ...d, model: null })],
    ['of another model type', (d) => ({ ...d, model: { ...d['model'], type: 'WordPiece' } })],
    ['with a normaliser', (d) => ({ ...d, normalizer: { type: 'Lowercase' } })],
    ['with a prefix space', (d) => ({ ...d, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } })],
    ['without end of text', (d) => ({ ...d, added_tokens: [] })],
    ['with a hole in its ids', (d) => withVocabulary(d, { zz: 5_000 })],
    ['with an id that is not a small number', (d) => withVocabulary(d, { zz: 65_536 })],
    ['with a token that is not bytes', (d) => withVocabulary(d, { 日: 302 })],
    ['without one of the bytes', (d) => withVocabulary(d, { a: undefined })],
    ['with a merge of unknown tokens', (d) => ({ ...d, model: { ...d['model'], merges: [['q', 'z']] } })],
    ['with a merge of three', (d) => ({ ...d, model: { ...d['model'], merges: ['a b c'] } })],
  ];
  test.each(broken)('%s is refused as TokenizerInvalid', (_, change) => {
    const changed = change(JSON.parse(sampleJson()) as Record<string, object>);
    const json = typeof changed === 'string' ? changed : JSON.stringify(changed);
    expect(() => loadTokenizer(json)).toThrow(expect.objectContaining({ code: 'TokenizerInvalid' }));
  });
});

function sampleJson(): string {
  const trainer = bpeTrainer();
  trainer.add(SAMPLE);
  return tokenizerJson(trainer.train(320));
}

function withVocabulary(document: Record<string, unknown>, change: Record<string, unknown>): unknown {
  const model = document['model'] as { vocab: object };
  return { ...document, model: { ...model, vocab: { ...model.vocab, ...change } } };
}

function slowMerge(
  letters: readonly string[],
  { vocab, merges }: { vocab: Record<string, number>; merges: [string, string][] },
) {
  let symbols = [...letters];
  for (;;) {
    const rankOf = (i: number): number => {
      const rank = merges.findIndex(([left, right]) => left === symbols[i] && right === symbols[i + 1]);
      return rank < 0 ? Number.POSITIVE_INFINITY : rank;
    };
    const ranks = symbols.map((_, i) => rankOf(i));
    const best = Math.min(...ranks);
    if (best === Number.POSITIVE_INFINITY) return symbols.map((symbol) => vocab[symbol]);
    const i = ranks.indexOf(best);
    symbols = [...symbols.slice(0, i), `${symbols[i]}${symbols[i + 1]}`, ...symbols.slice(i + 2)];
  }
}
