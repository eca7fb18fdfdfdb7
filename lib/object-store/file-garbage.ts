import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from './durable-files.ts';
import { type FileLayout, readObjectLink, unlinkIfPresent } from './file-layout.ts';
import { listObjects } from './file-listing.ts';

export interface GarbageReport {
  /** Staged bodies and upload folders removed. */
  readonly staged: number;
  /** Content files removed that no key named. */
  readonly orphans: number;
  readonly bytes: number;
}

/**
 * Removes what was last changed before `before` (epoch ms) in the staging folder, and content of that age that no object names.
 * Publishing changes a content file's ctime, so a file that is about to be linked is young.
 */
export async function collectGarbage(layout: FileLayout, before: number): Promise<GarbageReport> {
  const staged = await removeStaged(layout, before);
  // Orphans are found before the keys are read: content that gets its key in between is seen as named.
  const old = await oldContent(layout, before);
  const named = old.size === 0 ? new Set<string>() : await namedContent(layout);
  let bytes = staged.bytes;
  let orphans = 0;
  for (const [path, size] of old) {
    if (named.has(path)) continue;
    await unlinkIfPresent(path);
    orphans++;
    bytes += size;
  }
  return { staged: staged.count, orphans, bytes };
}

async function removeStaged(layout: FileLayout, before: number): Promise<{ count: number; bytes: number }> {
  let count = 0;
  let bytes = 0;
  for (const name of await readdir(layout.staging)) {
    const path = join(layout.staging, name);
    const { changedMs, size } = await newestChange(path);
    if (changedMs >= before) continue;
    await rm(path, { recursive: true, force: true });
    count++;
    bytes += size;
  }
  return { count, bytes };
}

/** The newest change in a staged body or upload folder, and its bytes. */
async function newestChange(path: string): Promise<{ changedMs: number; size: number }> {
  try {
    const status = await lstat(path);
    if (!status.isDirectory()) return { changedMs: Math.max(status.mtimeMs, status.ctimeMs), size: status.size };
    let newest = { changedMs: Math.max(status.mtimeMs, status.ctimeMs), size: 0 };
    for (const name of await readdir(path)) {
      const inner = await newestChange(join(path, name));
      newest = { changedMs: Math.max(newest.changedMs, inner.changedMs), size: newest.size + inner.size };
    }
    return newest;
  } catch (error) {
    // Published meanwhile.
    if (isErrno(error, 'ENOENT')) return { changedMs: Number.POSITIVE_INFINITY, size: 0 };
    throw error;
  }
}

async function oldContent(layout: FileLayout, before: number): Promise<Map<string, number>> {
  const old = new Map<string, number>();
  for (const shard of await readdir(layout.content)) {
    for (const name of await readdir(join(layout.content, shard))) {
      const path = join(layout.content, shard, name);
      const { changedMs, size } = await newestChange(path);
      if (changedMs < before) old.set(path, size);
    }
  }
  return old;
}

async function namedContent(layout: FileLayout): Promise<Set<string>> {
  const named = new Set<string>();
  for await (const { key } of listObjects(layout, '')) {
    const object = await readObjectLink(layout, key);
    if (object !== null) named.add(object.contentPath);
  }
  return named;
}
