import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CacheEntry, installOnce, type PeerCache, peerCache } from './cache.ts';

let folder: string;
let lines: string[];
let cache: PeerCache;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trainyard-cache-'));
  lines = [];
  cache = peerCache({ PEERS_CACHE: folder }, (line) => void lines.push(line));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Counts its builds. */
function entryOf(build: (target: string) => Promise<void> = async () => undefined): CacheEntry & { builds: number } {
  const entry = {
    name: 'probe-1.0',
    description: 'Probe 1.0 (a moment, once)',
    builds: 0,
    build: async (target: string) => {
      entry.builds++;
      await build(target);
      await writeFile(join(target, 'complete'), '');
    },
  };
  return entry;
}

describe('the cache of peers', () => {
  it('builds an entry once, says so, and never again', async () => {
    const entry = entryOf();
    const installed = await installOnce(cache, entry);
    expect(installed).toBe(join(folder, 'probe-1.0'));
    expect(existsSync(join(installed, 'complete'))).toBe(true);
    expect(lines[0]).toContain('installing Probe 1.0');
    expect(await installOnce(cache, entry)).toBe(installed);
    expect(entry.builds).toBe(1);
  });

  it('builds once for two that want it at the same time', async () => {
    const entry = entryOf();
    const second = peerCache({ PEERS_CACHE: folder }, () => undefined);
    await Promise.all([installOnce(cache, entry), installOnce(second, entry)]);
    expect(entry.builds).toBe(1);
  });

  it('has nothing after a build that failed, and tries again the next time', async () => {
    const failing = entryOf(() => Promise.reject(new Error('no network')));
    await expect(installOnce(cache, failing)).rejects.toThrow('no network');
    expect(await readdir(folder)).toEqual([]);
    const entry = entryOf();
    await installOnce(cache, entry);
    expect(entry.builds).toBe(1);
  });

  it('removes what a killed build left, and never takes it for an entry', async () => {
    const leftover = join(folder, '.unfinished-probe-1.0-abcd');
    await mkdir(leftover);
    await installOnce(cache, entryOf());
    expect((await readdir(folder)).sort()).toEqual(['probe-1.0']);
  });

  it('installs nothing under PEERS_INSTALL=0, but uses what is there', async () => {
    const frozen = peerCache({ PEERS_CACHE: folder, PEERS_INSTALL: '0' }, () => undefined);
    const entry = entryOf();
    await expect(installOnce(frozen, entry)).rejects.toThrow('PEERS_INSTALL=0');
    await installOnce(cache, entry);
    expect(await installOnce(frozen, entry)).toBe(join(folder, 'probe-1.0'));
    expect(entry.builds).toBe(1);
  });
});
