import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import { afterAll, describe, expect, test } from 'vitest';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { readCorpus } from '#lib/text/corpus-file.ts';
import { preprocessDatasetFile } from './preprocess-dataset-file.ts';
import { runPreprocessInThread } from './run-preprocess-in-thread.ts';

const folder = mkdtempSync(join(tmpdir(), 'thread-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const config = Value.Parse(PreprocessConfig, Value.Default(PreprocessConfig, {}));
const path = join(folder, 'source.jsonl');
const body = Array.from({ length: 3_000 }, (_, i) => {
  const text = Array.from({ length: 60 }, (_, j) => `word${(i * 131 + j * j * 17) % 4_001}`).join(' ');
  return `${JSON.stringify({ text })}\n`;
}).join('');
writeFileSync(path, body);
const args = (name: string) => ({
  path,
  format: 'jsonl_text' as const,
  sourceDigest: createHash('sha256').update(body).digest('hex'),
  outDir: join(folder, name),
  config,
});

describe('preprocessing in a thread', () => {
  test('gives what preprocessing here gives, while the event loop goes on', async () => {
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 5);
    const phases = new Set<string>();
    const there = await runPreprocessInThread(args('there'), { onProgress: ({ phase }) => phases.add(phase) });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(10);
    expect([...phases]).toEqual(['select', 'tokenizer', 'tokenize']);
    expect(there).toEqual(await preprocessDatasetFile(args('here')));
  });

  test('fails with the same error, code and fields included', async () => {
    const broken = join(folder, 'broken.jsonl');
    writeFileSync(broken, '{"txt":1}\n');
    const error: unknown = await runPreprocessInThread({ ...args('broken'), path: broken }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(TrainyardError);
    expect(error).toMatchObject({
      code: 'DatasetMalformedLine',
      fields: [{ pointer: '/lines/1', message: '"text" is missing' }],
    });
  });

  test('fails with an error that is not ours as a plain error', async () => {
    const error: unknown = await runPreprocessInThread({ ...args('x'), outDir: path }).catch((e: unknown) => e);
    expect(error).not.toBeInstanceOf(TrainyardError);
    expect(error).toMatchObject({ message: expect.stringContaining('EEXIST') });
  });

  test('refuses a dataset that needs more memory than the thread may have, and the process lives on', async () => {
    const large = readCorpus(join(import.meta.dirname, '../../../examples/data/state-of-the-union.jsonl.br'));
    const source = {
      path: join(folder, 'large.jsonl'),
      sourceDigest: createHash('sha256').update(large).digest('hex'),
    };
    writeFileSync(source.path, large);
    await expect(runPreprocessInThread({ ...args('m'), ...source }, { heapMib: 16 })).rejects.toMatchObject({
      code: 'DatasetTooLarge',
    });
  });

  test('ends with the reason of the abort signal, before and while it runs', async () => {
    await expect(
      runPreprocessInThread(args('a'), { signal: AbortSignal.abort(new Error('cancelled')) }),
    ).rejects.toThrow('cancelled');
    const controller = new AbortController();
    const running = runPreprocessInThread(args('b'), {
      signal: controller.signal,
      onProgress: () => {
        controller.abort(new Error('lease lost'));
      },
    });
    await expect(running).rejects.toThrow('lease lost');
  });
});
