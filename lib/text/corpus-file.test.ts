import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { readCorpus } from './corpus-file.ts';

test('a corpus is decompressed when its name says so', () => {
  const folder = mkdtempSync(join(tmpdir(), 'corpus-'));
  try {
    writeFileSync(join(folder, 'a.jsonl.br'), brotliCompressSync('{"text":"a"}\n'));
    writeFileSync(join(folder, 'a.jsonl'), '{"text":"b"}\n');
    expect(readCorpus(join(folder, 'a.jsonl.br')).toString()).toBe('{"text":"a"}\n');
    expect(readCorpus(join(folder, 'a.jsonl')).toString()).toBe('{"text":"b"}\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
