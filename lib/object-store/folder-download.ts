import { lstat, mkdir, readdir, realpath, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { isErrno, onWorkspace } from './durable-files.ts';
import { holdsContent, targetOfPartial } from './file-delivery.ts';
import { unlinkIfPresent } from './file-layout.ts';
import { type Manifest, type ManifestFile, readManifest } from './manifest-format.ts';
import type { ObjectStore } from './port.ts';
import type { TransferProgress } from './transfer-progress.ts';

/** Room that a workspace keeps for logs, checkpoints in the making and the rest of the machine. */
const DEFAULT_MARGIN_BYTES = 256 * 1_024 * 1_024;

export interface DownloadFolderOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TransferProgress) => void;
  /** The manifest's digest, when the caller knows it; another one is `ChecksumMismatch`. */
  readonly expectedDigest?: string;
  /** Bytes that must stay free besides the files; default 256 MiB. */
  readonly marginBytes?: number;
  /** Bytes that an ordinary user may still write at a folder; default from statfs(2). */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/**
 * Makes `folder` hold the files of a manifest, every one verified against it. Resumable: files that are right stay. Other
 * files in the folder are left alone. Two downloads into one folder at a time are not supported.
 *
 * `DiskFull` before anything is written when the missing files and the margin do not fit; `ChecksumMismatch`, `ObjectNotFound`
 * or `ManifestInvalid` when the stored artifact is damaged; `WorkspaceUnavailable` when a symbolic link leads a path outside.
 */
export async function downloadFolder(
  store: ObjectStore,
  manifestKey: string,
  folder: string,
  options: DownloadFolderOptions = {},
): Promise<Manifest> {
  const { signal, expectedDigest } = options;
  const manifest = await readManifest(store, manifestKey, expectedDigest === undefined ? {} : { expectedDigest });
  const root = await onWorkspace(`making ${folder}`, async () => {
    await mkdir(folder, { recursive: true });
    return realpath(folder);
  });
  const missing = await onWorkspace(`reading ${folder}`, async () => {
    await removePartials(root, manifest.files);
    return missingFiles(root, manifest.files, signal);
  });
  await refuseFullDisk(root, missing, options);
  const totalBytes = sumBytes(manifest.files);
  let bytes = totalBytes - sumBytes(missing);
  let files = manifest.files.length - missing.length;
  for (const file of missing) {
    await onWorkspace(`making the folder of ${file.path}`, () => makeParents(root, file.path));
    const abort = signal === undefined ? {} : { signal };
    await store.getToFile(file.key, join(root, file.path), { sha256: file.sha256, ...abort });
    bytes += file.bytes;
    files++;
    options.onProgress?.({ files, totalFiles: manifest.files.length, bytes, totalBytes });
  }
  return manifest;
}

const sumBytes = (files: readonly ManifestFile[]): number => files.reduce((sum, file) => sum + file.bytes, 0);

async function missingFiles(
  root: string,
  files: readonly ManifestFile[],
  signal: AbortSignal | undefined,
): Promise<ManifestFile[]> {
  const missing: ManifestFile[] = [];
  for (const file of files) {
    signal?.throwIfAborted();
    if (!(await holdsContent(join(root, file.path), file, signal))) missing.push(file);
  }
  return missing;
}

/** What killed downloads of these very files left; otherwise retries would fill the disk. */
async function removePartials(root: string, files: readonly ManifestFile[]): Promise<void> {
  const namesByFolder = new Map<string, Set<string>>();
  for (const { path } of files) {
    const parent = dirname(path);
    const names = namesByFolder.get(parent) ?? new Set<string>();
    namesByFolder.set(parent, names.add(basename(path)));
  }
  for (const [parent, names] of namesByFolder) {
    for (const found of await namesIn(join(root, parent))) {
      const target = targetOfPartial(found);
      if (target !== null && names.has(target)) await unlinkIfPresent(join(root, parent, found));
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

async function refuseFullDisk(
  root: string,
  missing: readonly ManifestFile[],
  options: DownloadFolderOptions,
): Promise<void> {
  if (missing.length === 0) return;
  const neededBytes = sumBytes(missing);
  const marginBytes = options.marginBytes ?? DEFAULT_MARGIN_BYTES;
  const freeBytes = await onWorkspace(`asking for the free space of ${root}`, () =>
    (options.freeBytes ?? freeBytesAt)(root),
  );
  if (freeBytes >= neededBytes + marginBytes) return;
  throw new TrainyardError(
    'DiskFull',
    `${root} has ${freeBytes} bytes free, the files need ${neededBytes} and a margin of ${marginBytes}`,
    { details: { folder: root, freeBytes, neededBytes, marginBytes } },
  );
}

async function freeBytesAt(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Makes the folders above a file one by one: a link that somebody put there is refused, never followed. */
async function makeParents(root: string, path: string): Promise<void> {
  let folder = root;
  for (const name of path.split('/').slice(0, -1)) {
    folder = join(folder, name);
    try {
      await mkdir(folder);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      if (!(await lstat(folder)).isDirectory())
        throw new TrainyardError('WorkspaceUnavailable', `${folder} is no folder, so ${path} cannot be written`, {
          cause: error,
        });
    }
  }
}
