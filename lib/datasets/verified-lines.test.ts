import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readVerifiedLines } from './verified-lines.ts';

const MIB = 1_024 * 1_024;
const folder = mkdtempSync(join(tmpdir(), 'verified-lines-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function read(body: string | Uint8Array, options: { maxLineBytes?: number; signal?: AbortSignal } = {}) {
  const path = join(folder, 'file');
  writeFileSync(path, body);
  const lines: string[] = [];
  const result = await readVerifiedLines(
    {
      path,
      expectedSha256: createHash('sha256').update(body).digest('hex'),
      maxBytes: 16 * MIB,
      maxLineBytes: 4 * MIB,
      ...options,
    },
    (line) => lines.push(line),
  );
  return { lines, ...result };
}

describe('reading lines', () => {
  test('gives every line without its line feed, the last one with or without', async () => {
    expect((await read('a\n\nb\r\nc')).lines).toEqual(['a', '', 'b\r', 'c']);
    expect((await read('a\n')).lines).toEqual(['a']);
    expect((await read('\n\n')).lines).toEqual(['', '']);
  });

  test('drops the byte order mark of the file and no other', async () => {
    expect((await read('\ufeffa\n\ufeffb')).lines).toEqual(['a', '\ufeffb']);
  });

  test('keeps lines and characters whole across the chunks they are read in', async () => {
    const lines = Array.from({ length: 9 }, (_, i) => `${i}${'日'.repeat(100_000 + i)}`);
    expect((await read(lines.join('\n'))).lines).toEqual(lines);
    const long = `x${'日'.repeat(MIB)}`;
    expect((await read(`${long}\nb`)).lines).toEqual([long, 'b']);
  });

  test('refuses a line longer than the limit, complete or not, by its number', async () => {
    const long = 'x'.repeat(2 * MIB + 1);
    for (const body of [`a\n${long}`, `a\n${long}\nb`, `a\n${long}${long}`])
      await expect(read(body, { maxLineBytes: 2 * MIB })).rejects.toMatchObject({
        code: 'DatasetTooLarge',
        message: expect.stringContaining('line 2 '),
      });
    await expect(read('日日', { maxLineBytes: 5 })).rejects.toMatchObject({ code: 'DatasetTooLarge' });
    await expect(read('日日', { maxLineBytes: 6 })).resolves.toMatchObject({ lines: ['日日'] });
  });

  test('names the line that is not UTF-8, also far into the file', async () => {
    const body = Buffer.concat([
      Buffer.from('line\n'.repeat(400_000)),
      Buffer.from([0xc3, 0x28, 0x0a]),
      Buffer.from('b'),
    ]);
    await expect(read(body)).rejects.toMatchObject({ code: 'DatasetInvalidUtf8', details: { line: 400_001 } });
  });

  test('finds a character cut off by the end of the file', async () => {
    await expect(read(Buffer.from('añ').subarray(0, 2))).rejects.toMatchObject({ code: 'DatasetInvalidUtf8' });
  });

  test('stops with the reason of the abort signal', async () => {
    await expect(read('a', { signal: AbortSignal.abort(new Error('lease lost')) })).rejects.toThrow('lease lost');
  });
});
