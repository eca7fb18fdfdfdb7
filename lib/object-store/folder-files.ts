import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { onWorkspace } from './durable-files.ts';
import { comparePaths, MANIFEST_NAME, pathProblem } from './manifest-format.ts';

export interface FolderFile {
  /** Relative, `/`-separated. */
  readonly path: string;
  readonly bytes: number;
}

/** As many as a manifest holds. */
const MAX_FILES = 100_000;

/**
 * Every regular file below a folder, sorted by path. Refuses (`ValidationFailed`) what an upload could not give back faithfully:
 * symbolic links and devices, names that are no plain path, a top-level `manifest.json`.
 */
export async function filesOf(folder: string): Promise<FolderFile[]> {
  return onWorkspace(`reading ${folder}`, async () => {
    const files: FolderFile[] = [];
    await collect(folder, '', files);
    return files.sort((a, b) => comparePaths(a.path, b.path));
  });
}

async function collect(folder: string, below: string, into: FolderFile[]): Promise<void> {
  for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
    const path = `${below}${entry.name}`;
    if (entry.isDirectory()) {
      await collect(folder, `${path}/`, into);
      continue;
    }
    const problem = pathProblem(path) ?? entryProblem(path, entry.isFile()) ?? countProblem(into.length);
    if (problem !== null)
      throw new TrainyardError('ValidationFailed', `folder ${folder} cannot be stored: ${problem}`, {
        fields: [{ pointer: `/${path}`, message: problem }],
      });
    into.push({ path, bytes: (await stat(join(folder, path))).size });
  }
}

function entryProblem(path: string, isFile: boolean): string | null {
  if (!isFile) return `${path} is neither a file nor a folder`;
  return path === MANIFEST_NAME ? `${MANIFEST_NAME} at the top is the name of the manifest itself` : null;
}

const countProblem = (count: number): string | null => (count < MAX_FILES ? null : `more than ${MAX_FILES} files`);
