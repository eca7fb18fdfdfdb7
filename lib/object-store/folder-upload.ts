import { join } from 'node:path';
import { digestFile, onWorkspace } from './durable-files.ts';
import { filesOf } from './folder-files.ts';
import { PART_BYTES } from './limits.ts';
import {
  encodeManifest,
  type Manifest,
  MANIFEST_NAME,
  type ManifestAuthor,
  type ManifestFile,
} from './manifest-format.ts';
import { checkKey, keyOfPath } from './object-keys.ts';
import type { ObjectStore } from './port.ts';
import type { TransferProgress } from './transfer-progress.ts';

export interface UploadFolderOptions {
  readonly createdBy: ManifestAuthor;
  readonly signal?: AbortSignal;
  /** Files at a time, 1 to 64; default 4. */
  readonly concurrency?: number;
  readonly onProgress?: (progress: TransferProgress) => void;
}

export interface UploadedFolder {
  readonly manifest: Manifest;
  readonly manifestKey: string;
  /** SHA-256 of the manifest's canonical JSON, which is also the digest of the stored object. */
  readonly digest: string;
  /** Files whose content was sent; the manifest itself is not counted. */
  readonly uploadedFiles: number;
  /** Files that the store held already. */
  readonly skippedFiles: number;
  readonly uploadedBytes: number;
}

/**
 * Stores every file below `folder` under `<prefix>/<path>`, then `<prefix>/manifest.json`: files first, manifest last and by
 * conditional create, so that whoever sees a manifest sees all of its files.
 *
 * Idempotent: the same folder, prefix and author again sends no body. `ObjectExists` when the prefix holds other content, for
 * example of another epoch: give every epoch its own prefix. `ValidationFailed` for a folder that cannot be stored faithfully.
 */
export async function uploadFolder(
  store: ObjectStore,
  folder: string,
  prefix: string,
  options: UploadFolderOptions,
): Promise<UploadedFolder> {
  const manifestKey = `${prefix}/${MANIFEST_NAME}`;
  checkKey(manifestKey);
  const found = await filesOf(folder);
  const keys = found.map(({ path }) => `${prefix}/${keyOfPath(path)}`);
  for (const key of keys) checkKey(key);
  const totalBytes = found.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = { files: 0, bytes: 0, uploadedFiles: 0, uploadedBytes: 0 };
  const files = await mapConcurrently(
    found,
    options.concurrency ?? 4,
    async ({ path }, index): Promise<ManifestFile> => {
      options.signal?.throwIfAborted();
      const key = keys[index] ?? '';
      const sent = await uploadFile(store, join(folder, path), key, options.signal);
      done = {
        files: done.files + 1,
        bytes: done.bytes + sent.bytes,
        uploadedFiles: done.uploadedFiles + (sent.created ? 1 : 0),
        uploadedBytes: done.uploadedBytes + (sent.created ? sent.bytes : 0),
      };
      options.onProgress?.({ files: done.files, totalFiles: found.length, bytes: done.bytes, totalBytes });
      return { path, key, bytes: sent.bytes, sha256: sent.sha256, partSize: PART_BYTES };
    },
  );
  options.signal?.throwIfAborted();
  const manifest: Manifest = { format: 'trainyard-manifest/1', createdBy: { ...options.createdBy }, files };
  const { sha256: digest } = await store.put(manifestKey, encodeManifest(manifest));
  const { uploadedFiles, uploadedBytes } = done;
  return { manifest, manifestKey, digest, uploadedFiles, skippedFiles: files.length - uploadedFiles, uploadedBytes };
}

/** A key that is taken is compared by digest first: then nothing is sent, and the file is read once. */
async function uploadFile(
  store: ObjectStore,
  path: string,
  key: string,
  signal: AbortSignal | undefined,
): Promise<{ bytes: number; sha256: string; created: boolean }> {
  const abort = signal === undefined ? {} : { signal };
  if ((await store.head(key)) === null) return store.putFile(key, path, abort);
  const { sha256 } = await onWorkspace(`reading ${path}`, () => digestFile(path, signal));
  return store.putFile(key, path, { ...abort, sha256 });
}

/** Runs at most `limit` at once, results in the order of the items; after the first failure nothing new starts, and it is thrown. */
async function mapConcurrently<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const index = next++;
      try {
        results[index] = await work(items[index] as T, index);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(Math.max(limit, 1), 64) }, lane));
  if (failures.length > 0) throw failures[0];
  return results;
}
