import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { homeAt } from '../start/home.ts';
import { lockOwner } from '../start/home-lock.ts';

/** Lies in a home that the next demo may delete. Nothing else is ever deleted. */
const TEMPORARY = 'temporary-demo-home';

/**
 * A fresh home in the folder `demo` of the one given. It stays for a look around until the next demo there, which deletes it unless it was made to be
 * kept.
 */
export async function freshDemoHome(options: {
  readonly below: string;
  readonly keep: boolean;
  readonly now: Date;
}): Promise<string> {
  const homes = join(options.below, 'demo');
  await removeOldHomes(homes);
  const stamp = options.now
    .toISOString()
    .replaceAll(/[-:]|\.\d+/g, '')
    .replace('T', '-')
    .replace('Z', '');
  const home = join(homes, stamp);
  await mkdir(home, { recursive: true, mode: 0o711 });
  if (!options.keep)
    await writeFile(join(home, TEMPORARY), 'made by `npm run demo`; the next one deletes this folder\n');
  return home;
}

/** Homes on which a platform runs (another demo, a look around) stay. */
async function removeOldHomes(homes: string): Promise<void> {
  for (const name of await namesIn(homes)) {
    const folder = join(homes, name);
    const isTemporary = (await namesIn(folder)).includes(TEMPORARY);
    if (isTemporary && (await lockOwner(homeAt(folder).lockFile)) === null)
      await rm(folder, { recursive: true, force: true });
  }
}

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch((): string[] => []);
