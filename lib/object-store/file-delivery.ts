import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { CHUNK_BYTES, digestFile, isErrno, onWorkspace, readRange, syncFolder, writeRange } from './durable-files.ts';
import { unlinkIfPresent } from './file-layout.ts';
import type { ObjectInfo } from './port.ts';

/** Name of the file beside the target that takes the bytes until they are verified; a kill leaves it behind. */
const partialNameOf = (name: string): string => `.${name}.${randomBytes(6).toString('hex')}.trainyard-partial`;

const PARTIAL_NAME = /^\.(.+)\.[0-9a-f]{12}\.trainyard-partial$/;

/** The name of the file whose interrupted delivery left `candidate`, or null. */
export const targetOfPartial = (candidate: string): string | null => PARTIAL_NAME.exec(candidate)?.[1] ?? null;

/** True when `path` is a regular file with exactly this content; reads it only when the size fits. */
export async function holdsContent(
  path: string,
  content: { readonly bytes: number; readonly sha256: string },
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    const status = await lstat(path);
    if (!status.isFile() || status.size !== content.bytes) return false;
    return (await digestFile(path, signal)).sha256 === content.sha256;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

/**
 * Copies an open object into `path`: aside, hashed on the way, compared with `info`, fsynced, then renamed. Keeps a file that is
 * right already. `ChecksumMismatch` leaves the target as it was.
 */
export async function deliverFile(
  source: FileHandle,
  info: ObjectInfo,
  path: string,
  signal?: AbortSignal,
): Promise<void> {
  if (await onWorkspace(`reading ${path}`, () => holdsContent(path, info, signal))) return;
  await deliverAside(path, (target) => copyVerified(source, target, info, path, signal));
}

/** Gives `copy` a new file beside `path`, which takes its place, durably, when `copy` did not throw; otherwise nothing stays. */
export async function deliverAside(path: string, copy: (target: FileHandle) => Promise<void>): Promise<void> {
  const partial = join(dirname(path), partialNameOf(basename(path)));
  const target = await onWorkspace(`writing ${path}`, () =>
    open(partial, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL),
  );
  try {
    try {
      await copy(target);
      await onWorkspace(`writing ${path}`, () => target.sync());
    } finally {
      await target.close();
    }
    await onWorkspace(`writing ${path}`, async () => {
      await rename(partial, path);
      await syncFolder(dirname(path));
    });
  } catch (error) {
    await onWorkspace(`removing ${partial}`, () => unlinkIfPresent(partial));
    throw error;
  }
}

/** Two buffers, so that the disk writes one chunk while the next is read and hashed. */
async function copyVerified(
  source: FileHandle,
  target: FileHandle,
  info: ObjectInfo,
  path: string,
  signal?: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256');
  const buffers = [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)] as const;
  let writing: Promise<void> = Promise.resolve();
  let bytes = 0;
  try {
    for (let turn = 0; ; turn++) {
      signal?.throwIfAborted();
      const chunk = await readRange(source, buffers[turn % 2 === 0 ? 0 : 1], CHUNK_BYTES, bytes);
      if (chunk.length === 0 || bytes > info.bytes) break;
      hash.update(chunk);
      await writing;
      const position = bytes;
      writing = onWorkspace(`writing ${path}`, () => writeRange(target, chunk, position));
      // Awaited in the next turn; marked as handled so that a read error in between does not orphan its rejection.
      writing.catch(() => undefined);
      bytes += chunk.length;
    }
  } finally {
    await writing;
  }
  refuseDamage(info, bytes, hash.digest('hex'));
}

/** OS-3: throws `ChecksumMismatch` when what was read is not what the object recorded. */
export function refuseDamage(recorded: ObjectInfo, bytes: number, sha256: string): void {
  if (bytes === recorded.bytes && sha256 === recorded.sha256) return;
  const damage =
    bytes < recorded.bytes
      ? `is truncated: ${bytes} of ${recorded.bytes} bytes are left`
      : 'does not have its recorded SHA-256';
  throw new TrainyardError('ChecksumMismatch', `the content of object ${recorded.key} ${damage}`, {
    details: { key: recorded.key, bytes, sha256, expectedBytes: recorded.bytes, expectedSha256: recorded.sha256 },
  });
}
