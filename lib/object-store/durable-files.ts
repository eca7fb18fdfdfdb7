import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { InvariantViolation, messageOf, TrainyardError } from '#lib/kernel/errors.ts';

/** Big enough that system calls cost nothing beside SHA-256, small enough not to block the event loop (0.6 ms of hashing). */
export const CHUNK_BYTES = 1_024 * 1_024;

/** The `code` of a Node system error (`ENOENT`), or null. */
function errnoOf(error: unknown): string | null {
  const { code, syscall } = (error ?? {}) as { code?: unknown; syscall?: unknown };
  return typeof code === 'string' && typeof syscall === 'string' ? code : null;
}

/** True for one of the given system errors. */
export const isErrno = (error: unknown, ...codes: string[]): boolean => codes.includes(errnoOf(error) ?? '');

/**
 * What an I/O error means to the caller: `DiskFull` when there is no room or quota left, else `code`. Our own errors, bugs and
 * abort reasons pass unchanged.
 */
export function asOperatingFailure(error: unknown, code: ErrorCode, what: string): unknown {
  if (error instanceof TrainyardError || error instanceof InvariantViolation) return error;
  const errno = errnoOf(error);
  if (errno === null) return error;
  if (errno === 'ENOSPC' || errno === 'EDQUOT')
    return new TrainyardError('DiskFull', `${what}: no space left on the device`, { cause: error });
  return new TrainyardError(code, `${what}: ${messageOf(error)}`, { cause: error, details: { errno } });
}

/** Runs work on a file of the caller (not of the store): its I/O errors are `WorkspaceUnavailable`, or `DiskFull`. */
export async function onWorkspace<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asOperatingFailure(error, 'WorkspaceUnavailable', what);
  }
}

/** Makes the entries of a folder survive a power loss. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Makes one folder, durably, if it is absent. Its parent must exist. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return;
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Reads exactly `length` bytes at `position`, or fewer at the end of the file. */
export async function readRange(file: FileHandle, into: Buffer, length: number, position: number): Promise<Buffer> {
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(into, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return into.subarray(0, filled);
}

/** Writes all of `body` at `position`. */
export async function writeRange(file: FileHandle, body: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < body.length) {
    const { bytesWritten } = await file.write(body, written, body.length - written, position + written);
    written += bytesWritten;
  }
}

/** The chunks of an open file from its beginning; the buffer of a chunk is reused for the next one. */
export async function* chunksOf(file: FileHandle, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let position = 0; ; ) {
    signal?.throwIfAborted();
    const chunk = await readRange(file, buffer, CHUNK_BYTES, position);
    if (chunk.length === 0) return;
    yield chunk;
    position += chunk.length;
  }
}

/** Size and SHA-256 of a file, streamed. I/O errors pass unchanged. */
export async function digestFile(path: string, signal?: AbortSignal): Promise<{ bytes: number; sha256: string }> {
  const file = await open(path, constants.O_RDONLY);
  try {
    const hash: Hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of chunksOf(file, signal)) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    await file.close();
  }
}

export const sha256Of = (body: Uint8Array | string): string => createHash('sha256').update(body).digest('hex');
