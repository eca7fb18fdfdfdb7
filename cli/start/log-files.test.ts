import { spawnSync } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { boundLog, withLog } from './log-files.ts';

describe('the log of a process', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trainyard-logs-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('is appended to, and readable by its owner only', async () => {
    const file = join(folder, 'a.log');
    for (const word of ['one', 'two'])
      withLog(file, (log) => spawnSync('/bin/echo', [word], { stdio: ['ignore', log, log] }));
    await expect(readFile(file, 'utf8')).resolves.toBe('one\ntwo\n');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('moves to one older file when it is too large, while its writer goes on', async () => {
    const file = join(folder, 'b.log');
    await appendFile(file, 'x'.repeat(100));
    await boundLog(file, 100);
    expect((await stat(file)).size).toBe(100);
    await appendFile(file, 'y');
    await boundLog(file, 100);
    expect((await stat(file)).size).toBe(0);
    expect((await stat(`${file}.1`)).size).toBe(101);
  });
});
