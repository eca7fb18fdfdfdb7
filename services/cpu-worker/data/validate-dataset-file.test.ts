import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { ERROR_CATALOGUE, type ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { type ValidateDatasetFile, validateDatasetFile } from './validate-dataset-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'validate-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const sha256 = (body: string | Uint8Array): string => createHash('sha256').update(body).digest('hex');

async function validate(body: string | Uint8Array, format: DatasetFormat, change: Partial<ValidateDatasetFile> = {}) {
  const path = join(folder, 'dataset');
  writeFileSync(path, body);
  return validateDatasetFile({ path, format, expectedSha256: sha256(body), ...change });
}

const rows = (texts: readonly string[]): string => texts.map((text) => `${JSON.stringify({ text })}\n`).join('');
const page = (word: string): string => `${word} `.repeat(150);
const GOOD = rows([page('one'), page('two'), page('three')]);

describe('validating a dataset file', () => {
  test('reports size, digest and counts of a good one', async () => {
    expect(await validate(GOOD, 'jsonl_text')).toEqual({
      format: 'jsonl_text',
      bytes: GOOD.length,
      sha256: sha256(GOOD),
      lines: 3,
      documents: 3,
      blankDocuments: 0,
      characters: 600 + 600 + 900,
      longestDocumentCharacters: 900,
    });
  });

  test('accepts plain text and prompt/completion rows', async () => {
    await expect(validate(`${page('one')}\f${page('two')}`, 'text')).resolves.toMatchObject({ documents: 2 });
    const pairs = ['one', 'two'].map((word) => JSON.stringify({ prompt: page(word), completion: word }));
    await expect(validate(pairs.join('\n'), 'jsonl_prompt_completion')).resolves.toMatchObject({ documents: 2 });
  });

  test('reports progress in bytes up to the size of the file', async () => {
    const seen: [number, number][] = [];
    const body = rows(Array.from({ length: 3_000 }, (_, i) => page(`w${i}`)));
    await validate(body, 'jsonl_text', { onProgress: (done, total) => seen.push([done, total]) });
    expect(seen.length).toBeGreaterThan(2);
    expect(seen.at(-1)).toEqual([body.length, body.length]);
  });

  test('lists malformed lines by number in `fields`, 100 at most, and counts all', async () => {
    const error: unknown = await validate(`${GOOD}${'{"txt":1}\n'.repeat(300)}`, 'jsonl_text').catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'DatasetMalformedLine', details: { total: 300 } });
    const { fields } = error as { fields: readonly unknown[] };
    expect(fields).toHaveLength(100);
    expect(fields[0]).toEqual({ pointer: '/lines/4', message: '"text" is missing' });
  });
});

type Fault = readonly [
  code: ErrorCode,
  what: string,
  body: string | Uint8Array,
  DatasetFormat,
  Partial<ValidateDatasetFile>?,
];

const latin1 = Buffer.from(`${page('caf\u00e9')}\n`, 'latin1');
const random = Buffer.from(Array.from({ length: 4_000 }, (_, i) => Math.imul(i, 2_654_435_761) >>> 24));

describe('a data fault has its own, non-retryable code:', () => {
  const faults: readonly Fault[] = [
    ['DatasetMissing', 'no file', GOOD, 'jsonl_text', { path: join(folder, 'absent') }],
    [
      'DatasetDigestMismatch',
      'other bytes than were uploaded',
      GOOD,
      'jsonl_text',
      { expectedSha256: sha256('other') },
    ],
    [
      'DatasetDigestMismatch',
      'other bytes, and nothing else right either',
      random,
      'text',
      { expectedSha256: sha256('other') },
    ],
    ['DatasetDigestMismatch', 'nothing instead of what was uploaded', '', 'text', { expectedSha256: sha256('other') }],
    ['DatasetTooLarge', 'more bytes than the limit', GOOD, 'jsonl_text', { limits: { maxBytes: 100 } }],
    ['DatasetTooLarge', 'a longer line than the limit', GOOD, 'jsonl_text', { limits: { maxLineBytes: 100 } }],
    ['DatasetTooLarge', 'more documents than the limit', GOOD, 'jsonl_text', { limits: { maxDocuments: 2 } }],
    ['DatasetEmpty', 'no bytes', '', 'jsonl_text'],
    ['DatasetEmpty', 'white space only', ' \n\n\t\n', 'text'],
    ['DatasetEmpty', 'rows without text', rows(['', ' ', '']), 'jsonl_text'],
    ['DatasetTooSmall', 'one document', rows([page('one').repeat(3)]), 'jsonl_text'],
    ['DatasetTooSmall', 'a few characters', rows(['one', 'two']), 'jsonl_text'],
    ['DatasetBinary', 'gzip', gzipSync(GOOD), 'jsonl_text'],
    ['DatasetBinary', 'brotli', brotliCompressSync(Buffer.concat([random, Buffer.from(GOOD)])), 'jsonl_text'],
    ['DatasetBinary', 'UTF-16', Buffer.from(`\ufeff${GOOD}`, 'utf16le'), 'jsonl_text'],
    ['DatasetBinary', 'UTF-16 without a mark', Buffer.from(GOOD, 'utf16le'), 'text'],
    ['DatasetBinary', 'a zero byte at the end', `${GOOD}\0`, 'text'],
    ['DatasetInvalidUtf8', 'Latin-1', Buffer.concat([Buffer.from(GOOD), latin1]), 'text'],
    [
      'DatasetDuplicateOnly',
      'one document three times',
      rows([page('a'), ` ${page('a')}`, `${page('a')} \r\n`]),
      'jsonl_text',
    ],
    ['DatasetMalformedLine', 'a broken row', `${GOOD}{"text":`, 'jsonl_text'],
    ['DatasetMalformedLine', 'rows of the other format', GOOD, 'jsonl_prompt_completion'],
    ['DatasetMalformedLine', 'plain text called JSON Lines', page('one'), 'jsonl_text'],
  ];
  for (const [code, what, body, format, change = {}] of faults)
    test(`${code} for ${what}`, async () => {
      await expect(validate(body, format, change)).rejects.toMatchObject({ name: 'TrainyardError', code });
      expect(ERROR_CATALOGUE[code].class).toBe('non_retryable');
    });
});
