import { TrainyardError } from '#lib/kernel/errors.ts';
import { MANIFEST_NAME, readManifest, uploadFolder } from '#lib/object-store/manifest.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { StoredFolder } from '#lib/worker/workspace.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/** The folder stored under a prefix; null while its manifest, which comes last, is not there. */
export async function readyFolder(platform: WorkerPlatform, prefix: string): Promise<StoredFolder | null> {
  const manifest = await platform.store.head(`${prefix}/${MANIFEST_NAME}`);
  return manifest === null ? null : { manifestKey: manifest.key, digest: manifest.sha256 };
}

/**
 * Stores a folder under a prefix that is a digest of everything the folder depends on. Another attempt or job may be first with the same
 * result: then the files are equal, the manifest names its author, and it is answered.
 */
export async function storeOnce(
  platform: WorkerPlatform,
  folder: string,
  prefix: string,
  { jobId, epoch, signal }: Pick<ActivityContext, 'jobId' | 'epoch' | 'signal'>,
  activity: string,
): Promise<StoredFolder> {
  try {
    const createdBy = { jobId, activity, epoch };
    const { manifestKey, digest } = await uploadFolder(platform.store, folder, prefix, { createdBy, signal });
    return { manifestKey, digest };
  } catch (error) {
    if (!(error instanceof TrainyardError) || error.code !== 'ObjectExists') throw error;
    const theirs = await readyFolder(platform, prefix);
    if (theirs === null) throw error;
    return theirs;
  }
}

/** One file of a stored folder, verified. `ObjectNotFound` when the folder has none of that path. */
export async function fileOf(platform: WorkerPlatform, stored: StoredFolder, path: string): Promise<Buffer> {
  const manifest = await readManifest(platform.store, stored.manifestKey, { expectedDigest: stored.digest });
  const file = manifest.files.find((candidate) => candidate.path === path);
  if (file === undefined) throw new TrainyardError('ObjectNotFound', `${stored.manifestKey} has no file ${path}`);
  return platform.store.get(file.key);
}
