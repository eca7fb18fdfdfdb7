import { readFile, writeFile } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { loadTokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';
import { encodePreference, encodePrompt } from './encode-row.ts';
import { splitOfPrompt } from './prompt-split.ts';
import { readTokenRows } from './row-folder-reader.ts';
import { type SplitRow, writeTokenRows } from './row-folder-writer.ts';

const json = tokenizerJson(trainedWords());
const tokenizer = loadTokenizer(json);
const DIGESTS = { sourceDigest: 'a'.repeat(64), configDigest: 'b'.repeat(64), tokenizerJson: json };

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'trainyard-rows-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Rows of random lengths, some longer than a shard of the tests. */
function randomRows(seed: number, parts: number): SplitRow[] {
  const random = mulberry32(seed);
  const part = (): Uint16Array =>
    Uint16Array.from({ length: 1 + Math.floor(random.next() * 20) }, () => Math.floor(random.next() * 257));
  return Array.from({ length: 60 }, () => ({
    split: random.next() < 0.2 ? 'validation' : 'train',
    parts: Array.from({ length: parts }, part),
  }));
}

test.each([1, 2, 3])('what is read is what was written, over any number of shards (seed %i)', async (seed) => {
  const rows = randomRows(seed, 3);
  const dataset = await writeTokenRows({ dir, format: 'trainyard-preferences/1', ...DIGESTS, rows, shardTokens: 100 });
  expect(dataset.splits.train.shards.length).toBeGreaterThan(3);
  const data = await readTokenRows(dir, 'trainyard-preferences/1');
  expect(data.description).toEqual(dataset);
  expect(data.tokenizerJson).toBe(json);
  for (const split of ['train', 'validation'] as const) {
    const expected = rows.filter((row) => row.split === split).map(({ parts }) => parts);
    expect(Array.from({ length: data[split].count }, (_, row) => data[split].at(row))).toEqual(expected);
  }
});

test('equal rows give equal bytes, and a folder written before leaves nothing behind', async () => {
  const write = (rows: SplitRow[], shardTokens: number): Promise<unknown> =>
    writeTokenRows({ dir, format: 'trainyard-prompts/1', ...DIGESTS, rows, shardTokens });
  await write(randomRows(4, 1), 1_000);
  const first = await readFile(join(dir, 'dataset.json'), 'utf8');
  await write(randomRows(5, 1), 10);
  expect(await readFile(join(dir, 'dataset.json'), 'utf8')).not.toBe(first);
  await write(randomRows(4, 1), 1_000);
  expect(await readFile(join(dir, 'dataset.json'), 'utf8')).toBe(first);
  await expect(readFile(join(dir, 'train-00001.bin'))).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('a folder that is not as described is refused', () => {
  const cases: Record<string, [code: string, change: () => Promise<void>]> = {
    'no dataset.json': ['TrainerDataMissing', () => rm(join(dir, 'dataset.json'))],
    'a dataset.json that is not JSON': ['TrainerBadData', () => writeFile(join(dir, 'dataset.json'), '{')],
    'another format': ['TrainerBadData', () => edit('dataset.json', 'trainyard-preferences/1', 'trainyard-prompts/1')],
    'no lengths': ['TrainerDataMissing', () => rm(join(dir, 'train-00000.lengths.bin'))],
    'changed ids': ['TrainerBadData', () => flip('train-00000.bin')],
    'changed lengths': ['TrainerBadData', () => flip('validation-00000.lengths.bin')],
    'another tokenizer': ['TrainerBadData', () => edit('tokenizer.json', '"version"', ' "version"')],
    'a row too many': ['TrainerBadData', () => edit('dataset.json', '"rows": ', '"rows": 1')],
    'a path that leaves the folder': [
      'TrainerBadData',
      () => edit('dataset.json', '"file": "train-00000.bin"', '"file": "../train-00000.bin"'),
    ],
  };
  test.each(Object.keys(cases))('%s', async (name) => {
    const [code, change] = cases[name] ?? ['', () => Promise.resolve()];
    await writeTokenRows({ dir, format: 'trainyard-preferences/1', ...DIGESTS, rows: randomRows(1, 3) });
    await change();
    await expect(readTokenRows(dir, 'trainyard-preferences/1')).rejects.toMatchObject({ code });
  });
});

test('an empty part never reaches a folder', async () => {
  const rows: SplitRow[] = [{ split: 'train', parts: [Uint16Array.of(1), new Uint16Array(), Uint16Array.of(2)] }];
  await expect(writeTokenRows({ dir, format: 'trainyard-preferences/1', ...DIGESTS, rows })).rejects.toThrow('empty');
});

test('completions are closed by end-of-text, an empty prompt is the start of a document', () => {
  const [prompt, chosen, rejected] = encodePreference(tokenizer, { prompt: 'a b', chosen: 'c', rejected: '' });
  expect(tokenizer.decode(prompt ?? [])).toBe('a b');
  expect(tokenizer.decode(chosen ?? [])).toBe('c<|endoftext|>');
  expect([...(rejected ?? [])]).toEqual([tokenizer.endOfTextId]);
  expect([...encodePrompt(tokenizer, '')]).toEqual([tokenizer.endOfTextId]);
});

test('the split depends on seed and prompt only, and holds out the share that was asked for', () => {
  const prompts = Array.from({ length: 4_000 }, (_, index) => `prompt ${index}`);
  const held = (seed: number): string[] =>
    prompts.filter((prompt) => splitOfPrompt(prompt, { seed, validationFraction: 0.1 }) === 'validation');
  expect(held(1)).toEqual(held(1));
  expect(held(1)).not.toEqual(held(2));
  // Four standard deviations of a binomial.
  expect(Math.abs(held(1).length - 400)).toBeLessThan(4 * Math.sqrt(4_000 * 0.1 * 0.9));
});

async function edit(name: string, from: string, to: string): Promise<void> {
  const text = await readFile(join(dir, name), 'utf8');
  expect(text).toContain(from);
  await writeFile(join(dir, name), text.replace(from, to));
}

async function flip(name: string): Promise<void> {
  const bytes = await readFile(join(dir, name));
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  await writeFile(join(dir, name), bytes);
}

function trainedWords(): ReturnType<ReturnType<typeof bpeTrainer>['train']> {
  const trainer = bpeTrainer();
  trainer.add('a b c d e f');
  return trainer.train(260);
}
