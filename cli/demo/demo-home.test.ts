import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freshDemoHome } from './demo-home.ts';

let below: string;
beforeEach(async () => {
  below = await mkdtemp(join(tmpdir(), 'trainyard-demo-home-'));
});
afterEach(() => rm(below, { recursive: true, force: true }));

const at = (minute: number, keep = false): Promise<string> =>
  freshDemoHome({ below, keep, now: new Date(Date.UTC(2026, 10, 26, 7, minute)) });

it('lies in the folder that holds everything, and goes with the next demo unless it is to be kept', async () => {
  const kept = await at(1, true);
  expect(kept).toBe(join(below, 'demo', '20261126-070100'));
  await at(2);
  await at(3);
  // Nobody's but the user's.
  await writeFile(join(below, 'demo', 'notes.txt'), 'mine');
  await at(4);
  expect((await readdir(join(below, 'demo'))).sort()).toEqual(['20261126-070100', '20261126-070400', 'notes.txt']);
});
