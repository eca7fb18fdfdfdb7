import { rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { makeFolder, syncFolder } from './durable-files.ts';
import {
  contentPathOf,
  type FileLayout,
  hasContent,
  linkObject,
  newContentName,
  readObjectLink,
  unlinkIfPresent,
} from './file-layout.ts';
import type { ObjectInfo, PutResult } from './port.ts';

/** A creator meets a deleter at most this often before it gives up. */
const PUBLISH_TRIES = 16;

/** The object, when the key holds this very content already; null when there is something to store. `ObjectExists` for other content. */
export async function findSame(
  layout: FileLayout,
  wanted: { readonly key: string; readonly sha256: string },
): Promise<PutResult | null> {
  const object = await readObjectLink(layout, wanted.key);
  if (object === null) return null;
  if (object.info.sha256 !== wanted.sha256) throw takenByOther(object.info, wanted.sha256);
  return (await hasContent(object)) ? { ...object.info, created: false } : null;
}

/** Publishes a complete, fsynced file of the staging folder; it is gone from there afterwards. */
export async function publishStaged(layout: FileLayout, info: ObjectInfo, path: string): Promise<PutResult> {
  const contentName = newContentName(info);
  const contentPath = contentPathOf(layout, contentName);
  await makeFolder(dirname(contentPath));
  await rename(path, contentPath);
  return publishContent(layout, info, contentName);
}

/**
 * Makes complete, fsynced content visible under its key: the one step that decides between racing creators (OS-1, OS-2).
 * The content file is removed again when another creator won.
 */
export async function publishContent(layout: FileLayout, info: ObjectInfo, contentName: string): Promise<PutResult> {
  const contentPath = contentPathOf(layout, contentName);
  try {
    await syncFolder(dirname(contentPath));
    for (let tries = 0; tries < PUBLISH_TRIES; tries++) {
      if (await linkObject(layout, info.key, contentName)) return { ...info, created: true };
      const winner = await readObjectLink(layout, info.key);
      // Deleted since.
      if (winner === null) continue;
      if (winner.info.sha256 !== info.sha256) throw takenByOther(winner.info, info.sha256);
      const complete = await hasContent(winner);
      if (complete) await unlinkIfPresent(contentPath);
      // The content of this key was lost from the disk: ours is the same.
      else await rename(contentPath, winner.contentPath);
      return { ...info, created: !complete };
    }
    throw new TrainyardError('StoreUnavailable', `object ${info.key} was deleted ${PUBLISH_TRIES} times meanwhile`);
  } catch (error) {
    await unlinkIfPresent(contentPath);
    throw error;
  }
}

const takenByOther = (existing: ObjectInfo, sha256: string): TrainyardError =>
  new TrainyardError('ObjectExists', `object ${existing.key} exists with other content`, {
    details: { key: existing.key, sha256: existing.sha256, refusedSha256: sha256 },
  });
