import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { lockHome, lockOwner } from './home-lock.ts';

describe('the lock of a home', () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trainyard-lock-'));
    file = join(folder, 'platform.lock');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('refuses a second owner, naming the first, until it is released', async () => {
    const lock = await lockHome(file);
    await expect(lockOwner(file)).resolves.toBe(process.pid);
    await expect(lockHome(file)).rejects.toMatchObject({
      code: 'HomeInUse',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    await lock.release();
    await expect(lockOwner(file)).resolves.toBeNull();
    await (await lockHome(file)).release();
    await expect(readdir(folder)).resolves.toEqual([]);
  });

  it('takes over from a dead process', async () => {
    await writeFile(file, JSON.stringify({ pid: 2 ** 22 + 1, startedAt: 'x' }));
    const lock = await lockHome(file);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ pid: process.pid });
    await lock.release();
  });

  it('takes over when the number belongs to another process by now', async () => {
    const parent = await processIdentity(process.ppid);
    expect(parent).not.toBeNull();
    await writeFile(file, JSON.stringify({ pid: process.ppid, startedAt: `${parent?.startedAt}0` }));
    await (await lockHome(file)).release();
    await writeFile(file, JSON.stringify({ pid: process.ppid, startedAt: parent?.startedAt }));
    await expect(lockHome(file)).rejects.toMatchObject({ code: 'HomeInUse' });
  });

  it.each(['', 'garbage', 'null', '{"pid":"1"}'])('takes over a damaged lock file: %j', async (content) => {
    await writeFile(file, content);
    await (await lockHome(file)).release();
    await expect(lockOwner(file)).resolves.toBeNull();
  });

  it('goes to exactly one of many that find the same stale lock', async () => {
    for (let round = 0; round < 10; round++) {
      await writeFile(file, JSON.stringify({ pid: 2 ** 22 + 1, startedAt: 'x' }));
      const results = await Promise.allSettled(Array.from({ length: 12 }, () => lockHome(file)));
      const owners = results.filter((result) => result.status === 'fulfilled');
      expect(owners).toHaveLength(1);
      await owners[0]?.value.release();
      await expect(readdir(folder)).resolves.toEqual([]);
    }
  });
});
