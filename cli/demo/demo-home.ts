import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { homeAt } from '../start/home.ts';
import { lockOwner } from '../start/home-lock.ts';

const PROJECT_ROOT = resolve(import.meta.dirname, '../..');
const HOMES = join(PROJECT_ROOT, '.trainyard', 'demo');
/** Lies in a home that the next demo may delete. Nothing else is ever deleted. */
const TEMPORARY = 'temporary-demo-home';

/** A fresh home below `.trainyard/demo/`. It stays for a look around until the next demo, which deletes it unless it was made to be kept. */
export async function freshDemoHome(options: { readonly keep: boolean; readonly now: Date }): Promise<string> {
  await removeOldHomes();
  const stamp = options.now
    .toISOString()
    .replaceAll(/[-:]|\.\d+/g, '')
    .replace('T', '-')
    .replace('Z', '');
  const home = join(HOMES, stamp);
  await mkdir(home, { recursive: true, mode: 0o711 });
  if (!options.keep)
    await writeFile(join(home, TEMPORARY), 'made by `npm run demo`; the next one deletes this folder\n');
  return home;
}

/** Homes on which a platform runs (another demo, a look around) stay. */
async function removeOldHomes(): Promise<void> {
  for (const name of await namesIn(HOMES)) {
    const folder = join(HOMES, name);
    const isTemporary = (await namesIn(folder)).includes(TEMPORARY);
    if (isTemporary && (await lockOwner(homeAt(folder).lockFile)) === null)
      await rm(folder, { recursive: true, force: true });
  }
}

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch((): string[] => []);
