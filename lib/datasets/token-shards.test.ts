import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TokenShardWriter } from './token-shards.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shards-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('a shard is closed after the document that fills it; no document spans two', () => {
  const writer = new TokenShardWriter(folder, 'train', true, 4);
  writer.add(Uint16Array.of(1, 2, 3), 1, 10);
  writer.add(Uint16Array.of(4, 5, 6), 2, 20);
  writer.add(Uint16Array.of(7, 0x0102), 0, 5);
  const split = writer.close();
  expect(split).toMatchObject({ documents: 3, tokens: 8, bytes: 35 });
  expect(split.shards.map(({ file, maskFile, tokens }) => [file, maskFile, tokens])).toEqual([
    ['train-00000.bin', 'train-00000.mask.bin', 6],
    ['train-00001.bin', 'train-00001.mask.bin', 2],
  ]);
  expect([...readFileSync(join(folder, 'train-00000.mask.bin'))]).toEqual([0, 1, 1, 0, 0, 1]);
  // Unsigned 16-bit, little-endian.
  expect([...readFileSync(join(folder, 'train-00001.bin'))]).toEqual([7, 0, 2, 1]);
  expect(writer.files.map((file) => file.path).sort()).toEqual(readdirSync(folder).sort());
});

test('a split without documents has no shard', () => {
  expect(new TokenShardWriter(folder, 'validation', false).close()).toEqual({
    documents: 0,
    tokens: 0,
    bytes: 0,
    shards: [],
  });
  expect(readdirSync(folder)).toEqual([]);
});
