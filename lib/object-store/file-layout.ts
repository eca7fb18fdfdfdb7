import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, realpath, rmdir, symlink, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { isErrno, makeFolder, syncFolder } from './durable-files.ts';
import type { ObjectInfo } from './port.ts';

/**
 * How a folder is an object store (alternatives and why not: README.md beside):
 *
 *     objects/<key>                          a symbolic link, whose target is the object's whole metadata:
 *     content/<2 hex>/<sha256>.<bytes>.<id>  the bytes, complete and fsynced before any link names them
 *     staging/                               what is being written; nothing here is visible
 *
 * symlink(2) is one atomic step that fails when the name is taken: it decides between racing creators, also in other processes,
 * and makes content and metadata visible together. There is no moment in between that a crash could keep.
 */
export interface FileLayout {
  readonly objects: string;
  readonly content: string;
  readonly staging: string;
}

/** Makes the three folders when absent. */
export async function openLayout(root: string): Promise<FileLayout> {
  await mkdir(root, { recursive: true });
  const real = await realpath(root);
  const layout = { objects: join(real, 'objects'), content: join(real, 'content'), staging: join(real, 'staging') };
  for (const folder of Object.values(layout)) await makeFolder(folder);
  return layout;
}

export interface LinkedObject {
  readonly info: ObjectInfo;
  readonly contentPath: string;
}

const CONTENT_NAME = /^([0-9a-f]{64})\.(\d{1,15})\.[0-9a-f]{16}$/;

/** A fresh content file name for an object; the random part keeps a later object of the same content apart from a deleted one. */
export const newContentName = (info: { bytes: number; sha256: string }): string =>
  `${info.sha256}.${info.bytes}.${randomBytes(8).toString('hex')}`;

export const contentPathOf = (layout: FileLayout, name: string): string => join(layout.content, name.slice(0, 2), name);

const targetOf = (key: string, name: string): string =>
  `${'../'.repeat(key.split('/').length)}content/${name.slice(0, 2)}/${name}`;

/** The object that a link target describes, or null when this store did not write the link. */
function parseTarget(layout: FileLayout, key: string, target: string): LinkedObject | null {
  const name = target.slice(target.lastIndexOf('/') + 1);
  const match = CONTENT_NAME.exec(name);
  if (match === null || target !== targetOf(key, name)) return null;
  return { info: { key, bytes: Number(match[2]), sha256: match[1] ?? '' }, contentPath: contentPathOf(layout, name) };
}

/** What the key's link names, whether or not the content is there; null for anything that is no object of this store. */
export async function readObjectLink(layout: FileLayout, key: string): Promise<LinkedObject | null> {
  const path = join(layout.objects, key);
  try {
    // A planted symbolic link among the parents would lead outside: then the real parent is another one.
    if ((await realpath(dirname(path))) !== dirname(path)) return null;
    return parseTarget(layout, key, await readlink(path));
  } catch (error) {
    // EINVAL: a folder or a plain file.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EINVAL', 'ELOOP')) return null;
    throw error;
  }
}

export async function hasContent(object: LinkedObject): Promise<boolean> {
  try {
    return (await lstat(object.contentPath)).isFile();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

/** Removing an empty folder and making it again can meet for ever only if somebody deletes in a loop. */
const LINK_TRIES = 16;

/** Makes `key` name the content. False when the key is taken by an object; throws `ObjectExists` when `x` and `x/y` would coexist. */
export async function linkObject(layout: FileLayout, key: string, contentName: string): Promise<boolean> {
  const path = join(layout.objects, key);
  for (let tries = 0; tries < LINK_TRIES; tries++) {
    await makeParents(layout, key);
    try {
      await symlink(targetOf(key, contentName), path);
      await syncFolder(dirname(path));
      return true;
    } catch (error) {
      // A parent was removed, or became an object (ENOTDIR), between its making and this: `makeParents` says which.
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) continue;
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    if ((await readObjectLink(layout, key)) !== null) return false;
    if (!(await removeEmptyTree(path))) await refuseTakenPath(layout, key, key);
  }
  throw new TrainyardError('StoreUnavailable', `object ${key}: its folder was removed ${LINK_TRIES} times meanwhile`);
}

async function makeParents(layout: FileLayout, key: string): Promise<void> {
  const parent = dirname(join(layout.objects, key));
  try {
    if ((await realpath(parent)) === parent) return;
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error;
  }
  const segments = key.split('/').slice(0, -1);
  for (let depth = 1; depth <= segments.length; depth++) {
    const folderKey = segments.slice(0, depth).join('/');
    const folder = join(layout.objects, folderKey);
    try {
      await makeFolder(folder);
      if ((await lstat(folder)).isDirectory()) continue;
    } catch (error) {
      // Somebody removes empty folders at this moment, or puts an object in their place; `linkObject` tries again.
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return;
      throw error;
    }
    await refuseTakenPath(layout, key, folderKey);
  }
}

/** Says why nothing can be created at `taken`, which is the key itself or one of its parents. */
async function refuseTakenPath(layout: FileLayout, key: string, taken: string): Promise<void> {
  const path = join(layout.objects, taken);
  try {
    if ((await lstat(path)).isDirectory())
      throw new TrainyardError('ObjectExists', `object ${key}: objects below ${taken}/ exist`);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return;
    throw error;
  }
  if ((await readObjectLink(layout, taken)) !== null)
    throw new TrainyardError('ObjectExists', `object ${key}: ${taken} is an object, so nothing can be below it`);
  throw new TrainyardError('StoreUnavailable', `object ${key}: ${path} was not written by this store`);
}

/** Removes a folder that holds nothing but folders; false when anything else is in it. */
async function removeEmptyTree(path: string): Promise<boolean> {
  try {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (!entry.isDirectory() || !(await removeEmptyTree(join(path, entry.name)))) return false;
    }
    await rmdir(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return true;
    if (isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) return false;
    throw error;
  }
}

/** Removes an object; the link goes first, so that a crash leaves an orphan for the garbage collection and never a dangling link. */
export async function unlinkObject(layout: FileLayout, object: LinkedObject): Promise<void> {
  const path = join(layout.objects, object.info.key);
  await unlinkIfPresent(path);
  await syncFolder(dirname(path)).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT')) throw error;
  });
  await unlinkIfPresent(object.contentPath);
  for (let folder = dirname(path); folder !== layout.objects; folder = dirname(folder)) {
    try {
      await rmdir(folder);
    } catch (error) {
      if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return;
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
}

export async function unlinkIfPresent(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}
