import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import { afterAll, describe, expect, test } from 'vitest';
import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import { type PreprocessDatasetFile, preprocessDatasetFile } from './preprocess-dataset-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'preprocess-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const sha256 = (body: string | Uint8Array): string => createHash('sha256').update(body).digest('hex');
const config = (change: Partial<PreprocessConfig> = {}): PreprocessConfig => ({
  ...Value.Parse(PreprocessConfig, Value.Default(PreprocessConfig, {})),
  vocabularySize: 300,
  ...change,
});

let runs = 0;
async function preprocess(body: string, format: DatasetFormat, change: Partial<PreprocessDatasetFile> = {}) {
  runs += 1;
  const path = join(folder, `source-${runs}`);
  const outDir = change.outDir ?? join(folder, `out-${runs}`);
  writeFileSync(path, body);
  const result = await preprocessDatasetFile({
    path,
    format,
    outDir,
    sourceDigest: sha256(body),
    config: config(),
    ...change,
  });
  return { ...result, outDir };
}

/** Documents of random words, so that none is a near duplicate. */
const random = mulberry32(1);
const texts = Array.from({ length: 80 }, () =>
  Array.from({ length: 40 }, () => `word${Math.floor(random.next() * 997)}`).join(' '),
);
const rows = (all: readonly object[]): string => all.map((row) => `${JSON.stringify(row)}\n`).join('');
const TEXT_ROWS = rows(texts.map((text) => ({ text })));
const PAIR_ROWS = rows(texts.map((text, i) => ({ prompt: `Question ${i}: ${text} `, completion: `answer ${i} é` })));

const ids = (path: string): Uint16Array => {
  const bytes = readFileSync(path);
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2).slice();
};
const tokenizerIn = (outDir: string) => loadTokenizer(readFileSync(join(outDir, 'tokenizer.json'), 'utf8'));

describe('preprocessing', () => {
  test('writes what the contract says, and every document is in exactly one split', async () => {
    const { dataset, files, counts, outDir } = await preprocess(TEXT_ROWS, 'jsonl_text');
    expect(Value.Check(TokenizedDataset, JSON.parse(readFileSync(join(outDir, 'dataset.json'), 'utf8')))).toBe(true);
    expect(files.map((file) => file.path)).toEqual([
      'dataset.json',
      'tokenizer.json',
      'train-00000.bin',
      'validation-00000.bin',
    ]);
    for (const { path, bytes, sha256: digest } of files) {
      const body = readFileSync(join(outDir, path));
      expect([body.length, sha256(body)]).toEqual([bytes, digest]);
    }
    const tokenizer = tokenizerIn(outDir);
    const documents = (['train', 'validation'] as const).flatMap((split) => {
      const all = ids(join(outDir, `${split}-00000.bin`));
      const { tokens, documents: count, bytes } = dataset.splits[split];
      expect(all.at(-1)).toBe(tokenizer.endOfTextId);
      const decoded = tokenizer.decode(all).split('<|endoftext|>').slice(0, -1);
      expect([all.length, decoded.length, Buffer.byteLength(decoded.join(''))]).toEqual([tokens, count, bytes]);
      return decoded;
    });
    expect(documents.sort()).toEqual([...texts].sort());
    expect(counts).toMatchObject({
      in: 80,
      train: dataset.splits.train.documents,
      validation: dataset.splits.validation.documents,
    });
  });

  test('gives the same bytes for the same input and configuration, and other ones for another', async () => {
    const first = await preprocess(TEXT_ROWS, 'jsonl_text');
    const second = await preprocess(TEXT_ROWS, 'jsonl_text');
    expect(second.files).toEqual(first.files);
    const other = await preprocess(TEXT_ROWS, 'jsonl_text', { config: config({ seed: 2 }) });
    expect(other.dataset.configDigest).not.toBe(first.dataset.configDigest);
    expect(other.files).not.toEqual(first.files);
  });

  test('still gives the bytes it gave when this test was written', async () => {
    // A change here makes every cached dataset and every shipped cloze item stale: it must be wanted.
    const { files } = await preprocess(TEXT_ROWS, 'jsonl_text');
    expect(files.map((file) => file.sha256.slice(0, 12))).toMatchInlineSnapshot(`
      [
        "a250053e628b",
        "106bb4ad4570",
        "76b024abb77c",
        "f2b2e7d9ffa7",
      ]
    `);
  });

  test('learns the tokenizer from the train split only', async () => {
    const { outDir } = await preprocess(TEXT_ROWS, 'jsonl_text');
    const train = tokenizerIn(outDir)
      .decode(ids(join(outDir, 'train-00000.bin')))
      .split('<|endoftext|>')
      .slice(0, -1);
    const oneHeldOut = texts.find((text) => !train.includes(text)) as string;
    const again = await preprocess(rows([...train, oneHeldOut].map((text) => ({ text }))), 'jsonl_text');
    expect(readFileSync(join(again.outDir, 'tokenizer.json'))).toEqual(readFileSync(join(outDir, 'tokenizer.json')));
  });

  test('uses the tokenizer of the base model, unchanged, when one is given', async () => {
    const base = await preprocess(TEXT_ROWS, 'jsonl_text', { config: config({ vocabularySize: 290 }) });
    const baseTokenizerJson = readFileSync(join(base.outDir, 'tokenizer.json'), 'utf8');
    const { outDir, dataset } = await preprocess(PAIR_ROWS, 'jsonl_prompt_completion', { baseTokenizerJson });
    expect(readFileSync(join(outDir, 'tokenizer.json'), 'utf8')).toBe(baseTokenizerJson);
    expect(dataset.tokenizer).toEqual(base.dataset.tokenizer);
  });

  test('masks exactly the prompts of prompt/completion rows', async () => {
    const { dataset, outDir } = await preprocess(PAIR_ROWS, 'jsonl_prompt_completion');
    expect(dataset.masked).toBe(true);
    const tokenizer = tokenizerIn(outDir);
    for (const split of ['train', 'validation'] as const) {
      expect(dataset.splits[split].shards[0]).toMatchObject({ maskFile: `${split}-00000.mask.bin` });
      const mask = readFileSync(join(outDir, `${split}-00000.mask.bin`));
      const tokens = ids(join(outDir, `${split}-00000.bin`));
      expect(mask.length).toBe(tokens.length);
      const counted = tokenizer
        .decode(tokens.filter((_, i) => mask[i] === 1))
        .split('<|endoftext|>')
        .slice(0, -1);
      expect(counted.length).toBe(dataset.splits[split].documents);
      expect(counted.every((text) => /^answer \d+ é$/.test(text))).toBe(true);
    }
  });

  test('counts documents by fate', async () => {
    const again = [...texts, texts[0] as string, `${texts[1]} more`, 'short', `${texts[2]} `];
    const { counts } = await preprocess(rows(again.map((text) => ({ text }))), 'jsonl_text', {
      config: config({ nearDuplicateThreshold: 0.8 }),
    });
    const { train, validation, ...rest } = counts;
    expect(rest).toEqual({ in: 84, exactDuplicates: 2, nearDuplicates: 1, tooShort: 1, tooLong: 0, cut: 0 });
    expect(train + validation).toBe(80);
  });

  test('removes the shards of an earlier attempt and nothing else', async () => {
    const { outDir, files } = await preprocess(TEXT_ROWS, 'jsonl_text');
    for (const name of ['train-00007.bin', 'train-00007.mask.bin', 'notes.txt']) writeFileSync(join(outDir, name), 'x');
    await preprocess(TEXT_ROWS, 'jsonl_text', { outDir });
    expect(readdirSync(outDir).sort()).toEqual([...files.map((file) => file.path), 'notes.txt'].sort());
  });

  test('reports the phases in order', async () => {
    const phases: string[] = [];
    await preprocess(TEXT_ROWS, 'jsonl_text', { onProgress: ({ phase }) => phases.push(phase) });
    expect([...new Set(phases)]).toEqual(['select', 'tokenizer', 'tokenize']);
  });

  test.each([
    ['DatasetDigestMismatch', 'the file changed since it was validated', TEXT_ROWS, { sourceDigest: sha256('other') }],
    ['DatasetMalformedLine', 'a row is broken', `${TEXT_ROWS}{`, {}],
    ['DatasetNothingKept', 'everything is too short', rows([{ text: 'a' }, { text: 'b' }]), {}],
    ['DatasetSplitEmpty', 'one document is left', rows([{ text: texts[0] }, { text: texts[0] }]), {}],
    ['DatasetTooLarge', 'there are too many documents', TEXT_ROWS, { limits: { maxDocuments: 79 } }],
    ['TokenizerInvalid', "the base's tokenizer is broken", TEXT_ROWS, { baseTokenizerJson: '{}' }],
  ])('refuses with %s when %s, and leaves no dataset.json', async (code, _, body, change) => {
    const outDir = join(folder, `refused-${code}`);
    await expect(preprocess(body, 'jsonl_text', { outDir, ...change })).rejects.toMatchObject({ code });
    expect(() => readFileSync(join(outDir, 'dataset.json'))).toThrow('ENOENT');
  });
});
