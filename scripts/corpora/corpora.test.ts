import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { readCorpus } from '#lib/text/corpus-file.ts';
import { ngramBaselines } from '#lib/text/ngram.ts';
import { loadTokenizer, type Tokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';
import { CHOICE_TOKENS, type ClozeFile, CONTEXT_TOKENS, clozeItems } from './cloze-items.ts';
import { defaultSplit } from './default-split.ts';

const repository = new URL('../../', import.meta.url);
const corpus = (name: string): string[] =>
  readCorpus(fileURLToPath(new URL(`examples/data/${name}.jsonl.br`, repository)))
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { text: string }).text);
const cloze = (name: string): ClozeFile =>
  JSON.parse(
    readFileSync(new URL(`services/gpu-worker/trainer/eval/data/${name}.json`, repository), 'utf8'),
  ) as ClozeFile;

const sotu = defaultSplit(corpus('state-of-the-union'));
const moby = defaultSplit(corpus('moby-dick'));
const tokenizer = trainedOn(sotu.train);

function trainedOn(texts: readonly string[]): Tokenizer {
  const words = bpeTrainer();
  for (const text of texts) words.add(text);
  return loadTokenizer(tokenizerJson(words.train(1_024)));
}

describe.each([
  ['state-of-the-union', sotu],
  ['moby-dick', moby],
])('the cloze items of %s', (name, split) => {
  const { format, items } = cloze(name);
  // Bytes, because searching them is faster than searching a string.
  const trainText = Buffer.from(split.train.join('\n\n'));
  const heldOut = split.validation.join('\n\n');

  test('are 150 or more, each with four different choices and one answer among them', () => {
    expect(format).toBe('trainyard-cloze/1');
    expect(items.length).toBeGreaterThanOrEqual(150);
    for (const { choices, answer } of items) {
      expect(new Set(choices).size).toBe(4);
      expect(choices[answer]).toBeDefined();
    }
  });

  test('come from the validation split and never occur in the train split', () => {
    for (const { context, choices, answer } of items) {
      expect(heldOut.includes(`${context}${choices[answer]}`)).toBe(true);
      expect([context, ...choices].filter((text) => trainText.includes(text))).toEqual([]);
    }
  });

  test('have choices of equal token length, which encode apart from their context', () => {
    for (const { context, choices } of items) {
      const before = [...tokenizer.encode(context)];
      expect(before.length).toBeLessThanOrEqual(CONTEXT_TOKENS);
      for (const choice of choices) {
        const after = [...tokenizer.encode(choice)];
        expect(after.length).toBe(CHOICE_TOKENS);
        expect([...tokenizer.encode(context + choice)]).toEqual([...before, ...after]);
      }
    }
  });

  test('put the answer at every place about equally often', () => {
    for (const place of [0, 1, 2, 3])
      expect(items.filter((item) => item.answer === place).length / items.length).toBeGreaterThan(0.15);
  });

  test('are what the generator draws with its seed', () => {
    expect(clozeItems(split.validation, split.train, tokenizer, 5, 1)).toEqual(items.slice(0, 5));
  });
});

test('the corpora hold no end-of-text token, no control character and no half character', () => {
  for (const text of [...sotu.train, ...sotu.validation, ...moby.train, ...moby.validation]) {
    expect(text.includes('<|endoftext|>') || !text.isWellFormed() || /[^\P{Cc}\n]/u.test(text)).toBe(false);
  }
});

test('the baselines on held-out State of the Union text are 2.83 and 1.78 bits per byte', () => {
  const encode = (texts: readonly string[]): Uint16Array =>
    Uint16Array.from(texts.flatMap((text) => [...tokenizer.encode(text), tokenizer.endOfTextId]));
  const bytes = Buffer.byteLength(sotu.validation.join(''));
  const { unigramBitsPerByte, bigramBitsPerByte } = ngramBaselines(
    encode(sotu.train),
    encode(sotu.validation),
    bytes,
    1_024,
  );
  expect(unigramBitsPerByte).toBeCloseTo(2.831, 2);
  expect(bigramBitsPerByte).toBeCloseTo(1.784, 2);
});
