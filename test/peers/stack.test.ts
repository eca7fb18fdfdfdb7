import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { peer } from '../support/peers/peer.ts';

// The S3 server alone: it starts in a moment, and what is tested here is the stack around it.
const s3 = await peer('s3');

describe.skipIf(!s3.available || s3.rung !== 'local process')('npm run stack', () => {
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'trainyard-home-'));
  });
  afterAll(() => rm(home, { recursive: true, force: true }));
  const environmentFile = (): string => join(home, 'stack', 'stack.env');

  function stack(...args: string[]): { readonly child: ChildProcess; readonly ended: Promise<number | null> } {
    const child = spawn(process.execPath, [join(import.meta.dirname, '../../scripts/stack.ts'), ...args], {
      env: { ...process.env, TRAINYARD_HOME: home },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return { child, ended: new Promise((resolve) => child.once('exit', resolve)) };
  }

  async function answers(): Promise<boolean> {
    const { OBJECT_STORE_URL = '' } = parseEnv(await readFile(environmentFile(), 'utf8'));
    const endpoint = /endpoint=([^&]+)/.exec(OBJECT_STORE_URL)?.[1] ?? '';
    // 403: a request without a signature; somebody is there.
    return (await fetch(endpoint)).status === 403;
  }

  it('writes stack.env for its owner alone while it runs, and has the same address the next time', async () => {
    const texts: string[] = [];
    for (let run = 0; run < 2; run++) {
      const { child, ended } = stack('--only', 's3');
      await eventually(() => existsSync(environmentFile()), { withinMs: 30_000 });
      expect((await stat(environmentFile())).mode & 0o777).toBe(0o600);
      expect(await answers()).toBe(true);
      texts.push(await readFile(environmentFile(), 'utf8'));
      child.kill('SIGINT');
      expect(await ended).toBe(0);
      expect(existsSync(environmentFile())).toBe(false);
    }
    expect(texts[1]).toBe(texts[0]);
  });

  it('refuses a second one on the same home; --detach leaves it running, --stop ends it', async () => {
    expect(await stack('--only', 's3', '--detach').ended).toBe(0);
    try {
      expect(await answers()).toBe(true);
      expect(await stack('--only', 's3').ended).toBe(75);
    } finally {
      expect(await stack('--stop').ended).toBe(0);
    }
    expect(existsSync(environmentFile())).toBe(false);
  });

  it('says how it is used when it is used wrongly', async () => {
    expect(await stack('--only', 'zookeeper').ended).toBe(64);
    expect(await stack('--detach', '--stop').ended).toBe(64);
  });
});
