import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { loadTokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';
import { writeEvaluationTokens } from './evaluation-tokens.ts';
import { writeEvaluationPairs } from './evaluation-pairs.ts';
import { writeEvaluationSetInThread } from './evaluation-set.ts';
import { readTokenRows } from './row-folder-reader.ts';

let folder = '';
let json = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'evaluation-tokens-'));
  const trainer = bpeTrainer();
  trainer.add('the state of the union is strong, the people are strong');
  json = tokenizerJson(trainer.train(280));
});
afterAll(() => rmSync(folder, { recursive: true }));

const sha256 = (body: string | Uint8Array): string => createHash('sha256').update(body).digest('hex');

let files = 0;
function source(body: string, format: DatasetFormat) {
  files += 1;
  const path = join(folder, `source-${files}`);
  writeFileSync(path, body);
  return {
    path,
    format,
    sourceDigest: sha256(body),
    outDir: join(folder, `out-${files}-${format}`),
    tokenizerJson: json,
  };
}

const ids = (dir: string, name: string): Uint16Array => {
  const bytes = readFileSync(join(dir, name));
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2).slice();
};

const contents = (dir: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(dir)
      .sort()
      .map((name) => [name, sha256(readFileSync(join(dir, name)))]),
  );

describe('an evaluation set as tokens', () => {
  test('every row is in the validation split: equal ones, short ones and similar ones too', async () => {
    const texts = ['a', 'the people are strong', 'the people are strong', 'the people are strong.', '  x  '];
    const args = source(texts.map((text) => `${JSON.stringify({ text })}\n`).join(''), 'jsonl_text');
    const dataset = await writeEvaluationTokens(args);
    expect(Value.Check(TokenizedDataset, dataset)).toBe(true);
    expect(dataset).toMatchObject({
      masked: false,
      sourceDigest: args.sourceDigest,
      splits: { train: { documents: 0, tokens: 0, shards: [] }, validation: { documents: 5 } },
    });
    const tokenizer = loadTokenizer(json);
    const text = tokenizer.decode(ids(args.outDir, 'validation-00000.bin'));
    expect(text.split('<|endoftext|>')).toEqual([...texts.slice(0, 4), 'x', '']);
    expect(dataset.splits.validation.bytes).toBe(1 + 21 + 21 + 22 + 1);
  });

  test('prompts are masked, completions and end-of-text are not', async () => {
    const args = source(
      `${JSON.stringify({ prompt: 'the people ', completion: 'are strong' })}\n`,
      'jsonl_prompt_completion',
    );
    const dataset = await writeEvaluationTokens(args);
    expect(dataset.masked).toBe(true);
    const mask = [...readFileSync(join(args.outDir, 'validation-00000.mask.bin'))];
    const tokenizer = loadTokenizer(json);
    const prompt = tokenizer.encode('the people ').length;
    expect(mask).toEqual([
      ...Array.from({ length: prompt }, () => 0),
      ...Array.from({ length: tokenizer.encode('are strong').length + 1 }, () => 1),
    ]);
  });

  test('plain text is cut into the documents that training sees', async () => {
    const dataset = await writeEvaluationTokens(source('one\n\n\ntwo\fthree\n', 'text'));
    expect(dataset.splits.validation.documents).toBe(3);
  });

  test('the same input gives the same files, here and in a thread', async () => {
    const args = source('one\n\n\ntwo\fthree\n', 'text');
    await writeEvaluationTokens(args);
    const there = join(folder, 'there');
    const progress: number[] = [];
    await writeEvaluationSetInThread({ ...args, outDir: there }, { onProgress: (bytes) => progress.push(bytes) });
    expect(contents(there)).toEqual(contents(args.outDir));
    expect(progress.at(-1)).toBe(16);
  });

  test('a set without text is refused, and one with a malformed line by its number', async () => {
    await expect(writeEvaluationTokens(source('{"text":"  "}\n', 'jsonl_text'))).rejects.toMatchObject({
      code: 'DatasetEmpty',
    });
    const args = source('{"text":"a"}\n{"txt":1}\n', 'jsonl_text');
    await expect(writeEvaluationSetInThread(args)).rejects.toMatchObject({
      code: 'DatasetMalformedLine',
      fields: [{ pointer: '/lines/2', message: '"text" is missing' }],
    });
  });
});

describe('pairs of preference to be scored', () => {
  const PAIRS = [
    { prompt: 'the people ', chosen: 'are strong', rejected: 'are the state' },
    { chosen: 'the union is strong', rejected: 'the union is the state' },
    { prompt: 'the people ', chosen: 'are strong', rejected: 'are the state' },
  ];
  const body = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

  test('are all held out, repeated ones too, in the order of the file', async () => {
    const args = source(`${body(PAIRS)}\n`, 'jsonl_preferences');
    await writeEvaluationPairs(args);
    const { train, validation, tokenizerJson: stored } = await readTokenRows(args.outDir, 'trainyard-preferences/1');
    expect(train.count).toBe(0);
    expect(stored).toBe(json);
    const tokenizer = loadTokenizer(json);
    const rows = Array.from({ length: validation.count }, (_, at) =>
      validation.at(at).map((ids) => tokenizer.decode(ids)),
    );
    expect(rows).toEqual([
      ['the people ', 'are strong<|endoftext|>', 'are the state<|endoftext|>'],
      ['the union is', ' strong<|endoftext|>', ' the state<|endoftext|>'],
      ['the people ', 'are strong<|endoftext|>', 'are the state<|endoftext|>'],
    ]);
  });

  test('are the same in a thread', async () => {
    const args = source(body(PAIRS), 'jsonl_preferences');
    await writeEvaluationPairs(args);
    const there = join(folder, 'pairs-there');
    await writeEvaluationSetInThread({ ...args, outDir: there });
    expect(contents(there)).toEqual(contents(args.outDir));
  });

  test('are refused when a row is no pair, by its number, and when there is none', async () => {
    const args = source(body([...PAIRS, { prompt: 'x', chosen: 'a', rejected: 'a' }]), 'jsonl_preferences');
    await expect(writeEvaluationSetInThread(args)).rejects.toMatchObject({
      code: 'DatasetMalformedLine',
      fields: [{ pointer: '/lines/4', message: expect.stringContaining('equalPair') }],
    });
    await expect(writeEvaluationPairs(source(' \n', 'jsonl_preferences'))).rejects.toMatchObject({
      code: 'DatasetEmpty',
    });
    const many = { ...source(body(PAIRS), 'jsonl_preferences'), limits: { maxDocuments: 2 } };
    await expect(writeEvaluationPairs(many)).rejects.toMatchObject({ code: 'DatasetTooLarge' });
  });
});
