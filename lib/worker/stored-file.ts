import { TrainyardError } from '#lib/kernel/errors.ts';
import { readManifest } from '#lib/object-store/manifest.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import type { StoredFolder } from './workspace.ts';

/** One small file of a stored folder. `ObjectNotFound` when the manifest does not name it, and what `readManifest` throws. */
export async function fileOf(
  { store }: { readonly store: ObjectStore },
  { manifestKey, digest }: StoredFolder,
  path: string,
): Promise<Buffer> {
  const manifest = await readManifest(store, manifestKey, { expectedDigest: digest });
  const file = manifest.files.find((candidate) => candidate.path === path);
  if (file === undefined) throw new TrainyardError('ObjectNotFound', `${manifestKey} has no file ${path}`);
  return store.get(file.key);
}
