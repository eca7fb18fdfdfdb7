import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { MANIFEST_NAME, uploadFolder } from '#lib/object-store/manifest.ts';
import type { WorkerPlatform } from './worker-service.ts';
import type { StoredFolder } from './workspace.ts';

/** Of folders below the workspace root in which results are made; an attempt that was killed leaves its own behind. */
export const SCRATCH_PREFIX = 'preprocess-';

export interface DerivedFolder {
  /** Where the result is stored: it carries the digest of everything the result depends on. */
  readonly prefix: string;
  readonly createdBy: { readonly jobId: string; readonly activity: string; readonly epoch: number };
  readonly signal: AbortSignal;
  /** Writes the files into a new folder; the same prefix means the same files. */
  readonly make: (folder: string) => Promise<void>;
}

/**
 * A stored folder that is a function of its prefix: made once, and found ready by a retry or by another job with the same wish. Raced, one
 * manifest wins; the files are equal. Throws what `make` throws.
 */
export async function derivedFolder(
  platform: Pick<WorkerPlatform, 'store' | 'workspaceDir'>,
  { prefix, createdBy, signal, make }: DerivedFolder,
): Promise<StoredFolder> {
  const ready = await storedAt(platform, prefix);
  if (ready !== null) return ready;
  await mkdir(platform.workspaceDir, { recursive: true });
  const scratch = await mkdtemp(join(platform.workspaceDir, SCRATCH_PREFIX));
  const folder = join(scratch, 'result');
  try {
    await make(folder);
    return await storeOnce(platform, folder, { prefix, createdBy, signal });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Stores a folder under a prefix that is a digest of everything it depends on. */
export async function storeOnce(
  platform: Pick<WorkerPlatform, 'store'>,
  folder: string,
  { prefix, createdBy, signal }: Omit<DerivedFolder, 'make'>,
): Promise<StoredFolder> {
  try {
    const { manifestKey, digest } = await uploadFolder(platform.store, folder, prefix, { createdBy, signal });
    return { manifestKey, digest };
  } catch (error) {
    // Another attempt or job was first with the same result: the files are equal, the manifest names its author.
    if (!(error instanceof TrainyardError) || error.code !== 'ObjectExists') throw error;
    const theirs = await storedAt(platform, prefix);
    if (theirs === null) throw error;
    return theirs;
  }
}

/** The folder stored under a prefix; null while its manifest, which comes last, is not there. */
export async function storedAt(platform: Pick<WorkerPlatform, 'store'>, prefix: string): Promise<StoredFolder | null> {
  const found = await platform.store.head(`${prefix}/${MANIFEST_NAME}`);
  return found === null ? null : { manifestKey: found.key, digest: found.sha256 };
}
