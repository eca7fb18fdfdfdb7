import { describe, expect, test } from 'vitest';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { loadTokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';
import { initialWeights } from '../model/gpt2.ts';
import { builtInConfig } from '../formats/model-folder.ts';
import { compileScoring, type ScoringProgram } from '../programs/causal-lm.ts';
import { answerCloze, loadClozeItems, parseClozeItems } from './cloze.ts';

const LENGTH = 12;
const tokenizer = loadTokenizer(tokenizerJson(bpeTrainer().train(257)));
const options = { length: LENGTH, padding: tokenizer.endOfTextId, afterBatch: () => undefined };

/** A scorer that finds every token hard except those of `easy`, whatever came before. */
function programLiking(easy: string): ScoringProgram {
  const liked = new Set(tokenizer.encode(easy));
  const batch = {
    ids: new Int32Array(8 * LENGTH),
    targets: new Int32Array(8 * LENGTH),
    weights: new Float32Array(8 * LENGTH),
  };
  return {
    batch,
    run: () => Promise.resolve(Float32Array.from(batch.targets, (id) => (liked.has(id) ? 0.5 : 3))),
    release: () => Promise.resolve(),
  };
}

const item = (answer: number, context = 'once'): { context: string; choices: string[]; answer: number } => ({
  context,
  choices: ['aaaa', 'bbbb', 'cccc', 'dddd'],
  answer,
});

test('the choice with the highest summed log-likelihood is the answer', async () => {
  const items = [item(2), item(1), item(2), item(3), item(2)];
  expect(await answerCloze(programLiking('c'), items, tokenizer, options)).toEqual([1, 0, 1, 0, 1]);
  expect(await answerCloze(programLiking('b'), items, tokenizer, options)).toEqual([0, 1, 0, 0, 0]);
});

test('the context itself never counts, only what it predicts', async () => {
  // The context is made of the liked token; were it scored, all choices would gain alike, so check one choice of its own.
  const items = [{ ...item(0, 'ccccc'), choices: ['xx', 'cxx', 'xxxx', 'xxxxx'] }];
  // 'xx' costs 6, 'cxx' 6.5: with a scored context both would still differ by 0.5, but a shifted window would prefer 'cxx'.
  expect(await answerCloze(programLiking('c'), items, tokenizer, options)).toEqual([1]);
});

test('long contexts lose their start and long choices are cut alike', async () => {
  const choices = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(40));
  const items = [{ context: 'x'.repeat(100), choices, answer: 3 }];
  expect(await answerCloze(programLiking('d'), items, tokenizer, options)).toEqual([1]);
});

test('a real model scores a choice as the sum over its tokens', async () => {
  const config = builtInConfig({
    vocabularySize: tokenizer.vocabularySize,
    contextLength: LENGTH,
    embeddingSize: 16,
    layers: 1,
    heads: 2,
    endOfTextId: tokenizer.endOfTextId,
  });
  const model = { config, base: initialWeights(config, 0.5, 1) };
  const program = await compileScoring(model, { batch: 1, length: LENGTH, threads: 1 });
  const items = Array.from({ length: 12 }, (_, index) => item(index % 4, `word ${index}`));
  const right = await answerCloze(program, items, tokenizer, options);

  const expected: number[] = [];
  for (const { context, choices, answer } of items) {
    const before = [...tokenizer.encode(context)];
    const sums: number[] = [];
    for (const choice of choices) {
      const ids = [...before, ...tokenizer.encode(choice)];
      program.batch.ids.fill(0);
      program.batch.targets.fill(0);
      program.batch.ids.set(ids.slice(0, -1));
      program.batch.targets.set(ids.slice(1));
      const losses = await program.run();
      let sum = 0;
      for (let at = before.length; at < ids.length; at += 1) sum -= losses[at - 1] ?? Number.NaN;
      sums.push(sum);
    }
    expected.push(sums.indexOf(Math.max(...sums)) === answer ? 1 : 0);
  }
  expect(right).toEqual(expected);
  expect(new Set(right).size).toBe(2);
  await program.release();
});

describe('the shipped questions', () => {
  test.each(['state-of-the-union', 'moby-dick'])('%s: at least 120, no choice twice, answers spread', async (name) => {
    const items = await loadClozeItems(name, 0);
    expect(items.length).toBeGreaterThanOrEqual(120);
    for (const { choices } of items) expect(new Set(choices).size).toBe(4);
    for (const answer of [0, 1, 2, 3]) {
      const share = items.filter((entry) => entry.answer === answer).length / items.length;
      expect(share).toBeGreaterThan(0.1);
      expect(share).toBeLessThan(0.5);
    }
    expect(await loadClozeItems(name, 7)).toEqual(items.slice(0, 7));
  });

  test.each([
    ['not JSON', '{'],
    ['another format', JSON.stringify({ format: 'x', source: 's', items: [item(0)] })],
    ['an answer out of range', JSON.stringify({ format: 'trainyard-cloze/1', source: 's', items: [item(4)] })],
    ['no items', JSON.stringify({ format: 'trainyard-cloze/1', source: 's', items: [] })],
  ])('%s is refused', (_, text) => {
    expect(() => parseClozeItems(text, 'x')).toThrow(expect.objectContaining({ code: 'TrainerBadData' }));
  });
});
