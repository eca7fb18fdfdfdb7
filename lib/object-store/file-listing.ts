import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from './durable-files.ts';
import { type FileLayout, hasContent, readObjectLink } from './file-layout.ts';
import type { ObjectInfo } from './port.ts';

/** Links of one folder that are read at once: the thread pool has four threads, a few waiting keep them busy. */
const READ_AHEAD = 16;

/**
 * The objects whose keys start with `prefix`, in code-point order. Holds the names of one folder per level in memory, whatever
 * the number of objects. What is created or deleted meanwhile may be seen or not.
 */
export async function* listObjects(layout: FileLayout, prefix: string): AsyncGenerator<ObjectInfo> {
  const folderKey = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  const folder = join(layout.objects, folderKey).replace(/\/$/, '');
  try {
    if ((await realpath(folder)) !== folder) return;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return;
    throw error;
  }
  yield* listFolder(layout, folderKey, prefix);
}

interface Name {
  /** Ends with a slash for a folder: that is how its keys sort among its neighbours (`a-b` < `a/x` < `ab`). */
  readonly key: string;
  readonly isFolder: boolean;
}

async function* listFolder(layout: FileLayout, folderKey: string, prefix: string): AsyncGenerator<ObjectInfo> {
  const names = await readNames(layout, folderKey, prefix);
  for (let at = 0; at < names.length; ) {
    const name = names[at];
    if (name?.isFolder === true) {
      yield* listFolder(layout, name.key, prefix);
      at++;
      continue;
    }
    const ahead = names.slice(at, at + READ_AHEAD);
    const folderAt = ahead.findIndex((other) => other.isFolder);
    const run = folderAt === -1 ? ahead : ahead.slice(0, folderAt);
    const infos = await Promise.all(run.map(({ key }) => headOf(layout, key)));
    for (const info of infos) if (info !== null) yield info;
    at += run.length;
  }
}

async function readNames(layout: FileLayout, folderKey: string, prefix: string): Promise<Name[]> {
  let entries;
  try {
    entries = await readdir(join(layout.objects, folderKey), { withFileTypes: true });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
  return entries
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map((entry) => ({
      key: `${folderKey}${entry.name}${entry.isDirectory() ? '/' : ''}`,
      isFolder: entry.isDirectory(),
    }))
    .filter(({ key, isFolder }) => key.startsWith(prefix) || (isFolder && prefix.startsWith(key)))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function headOf(layout: FileLayout, key: string): Promise<ObjectInfo | null> {
  const object = await readObjectLink(layout, key);
  return object !== null && (await hasContent(object)) ? object.info : null;
}
