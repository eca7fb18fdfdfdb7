import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AdminKeyFile } from '../app/api-keys.ts';

/** The platform admin's key in a file that only its owner can read. */
export function adminKeyFile(path: string): AdminKeyFile {
  return {
    async read() {
      try {
        return (await readFile(path, 'utf8')).trim();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
    async write(key) {
      await mkdir(dirname(path), { recursive: true });
      const aside = `${path}.${process.pid}`;
      await writeFile(aside, `${key}\n`, { mode: 0o600 });
      await chmod(aside, 0o600);
      await rename(aside, path);
    },
  };
}
