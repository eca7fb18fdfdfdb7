import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, lstat, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { chunksOf, isErrno, makeFolder, onWorkspace, readRange, sha256Of, writeRange } from './durable-files.ts';
import { contentPathOf, type FileLayout, unlinkIfPresent } from './file-layout.ts';

/** A body, or a part of one, that was written to the store. */
export interface StoreWrite {
  readonly key: string;
  /** From 1; a small object is one part. */
  readonly part: number;
  readonly bytes: number;
}

/**
 * The digests of a file at the end of each of its parts: entry i is the SHA-256 of everything up to the end of part i, the last
 * one is the file's. One running hash gives them all, and a part is wrong exactly when its entry differs.
 */
export interface PartPlan {
  readonly bytes: number;
  readonly sha256: string;
  readonly partBytes: number;
  readonly digests: readonly string[];
}

/** Reads the file once. */
export async function planParts(path: string, partBytes: number, signal?: AbortSignal): Promise<PartPlan> {
  return onWorkspace(`reading ${path}`, async () => {
    const file = await open(path, constants.O_RDONLY);
    try {
      const hash = createHash('sha256');
      const digests: string[] = [];
      let bytes = 0;
      for await (const chunk of chunksOf(file, signal)) {
        for (let at = 0; at < chunk.length; ) {
          const take = Math.min(chunk.length - at, partBytes - (bytes % partBytes));
          hash.update(chunk.subarray(at, at + take));
          at += take;
          bytes += take;
          if (bytes % partBytes === 0) digests.push(hash.copy().digest('hex'));
        }
      }
      const sha256 = hash.digest('hex');
      if (bytes % partBytes !== 0 || bytes === 0) digests.push(sha256);
      return { bytes, sha256, partBytes, digests };
    } finally {
      await file.close();
    }
  });
}

export interface PartedUpload {
  readonly layout: FileLayout;
  readonly key: string;
  readonly path: string;
  readonly plan: PartPlan;
  readonly signal: AbortSignal | undefined;
  readonly onWrite: ((write: StoreWrite) => void) | undefined;
}

const uploadFolder = ({ layout, key, plan }: PartedUpload): string =>
  join(layout.staging, sha256Of(`${key}\n${plan.sha256}`));

/**
 * Copies a file part by part into the upload folder of (key, sha256), keeping the parts that an interrupted upload left and
 * that still verify, then gives the whole the name `contentName`. False when another process that uploads the same object
 * published it meanwhile.
 *
 * Several processes may work in one upload folder at once without a lock: a part is compared with the plan in memory before it
 * is written, so all of them ever write the same bytes to the same place.
 */
export async function copyInParts(upload: PartedUpload, contentName: string): Promise<boolean> {
  const folder = uploadFolder(upload);
  const source = await onWorkspace(`reading ${upload.path}`, () => open(upload.path, constants.O_RDONLY));
  try {
    await makeFolder(folder);
    const staged = await open(join(folder, 'content'), constants.O_RDWR | constants.O_CREAT);
    try {
      await copyParts(upload, folder, source, staged);
      await staged.sync();
      return await nameContent(folder, staged, contentPathOf(upload.layout, contentName));
    } finally {
      await staged.close();
    }
  } catch (error) {
    // The upload folder went away under us: whoever published the object removes it.
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  } finally {
    await source.close();
  }
}

/** Forgets the upload's folder: its object is published. What another process adds meanwhile is left to the garbage collection. */
export async function removeUpload(upload: PartedUpload): Promise<void> {
  try {
    await rm(uploadFolder(upload), { recursive: true, force: true });
  } catch (error) {
    if (!isErrno(error, 'ENOTEMPTY')) throw error;
  }
}

async function copyParts(upload: PartedUpload, folder: string, source: FileHandle, staged: FileHandle): Promise<void> {
  const { plan, key, path, signal, onWrite } = upload;
  const buffer = Buffer.allocUnsafe(Math.min(plan.partBytes, plan.bytes));
  let running = createHash('sha256');
  for (const [index, digest] of plan.digests.entries()) {
    signal?.throwIfAborted();
    const position = index * plan.partBytes;
    const length = Math.min(plan.partBytes, plan.bytes - position);
    const record = join(folder, `part-${String(index + 1).padStart(5, '0')}`);
    // 1. A part of an interrupted upload is kept when its record is of this file and its bytes still agree.
    if ((await readRecord(record)) === digest) {
      const kept = advance(running, await readRange(staged, buffer, length, position));
      if (kept.digest === digest) {
        running = kept.hash;
        continue;
      }
    }
    // 2. Otherwise it is copied; nothing unverified is ever written.
    const body = await onWorkspace(`reading ${path}`, () => readRange(source, buffer, length, position));
    const copied = advance(running, body);
    if (copied.digest !== digest)
      throw new TrainyardError('ChecksumMismatch', `${path} changed while it was stored as ${key}`);
    running = copied.hash;
    await writeRange(staged, body, position);
    await writeFile(record, digest);
    onWrite?.({ key, part: index + 1, bytes: body.length });
  }
}

function advance(running: Hash, body: Uint8Array): { hash: Hash; digest: string } {
  const hash = running.copy().update(body);
  return { hash, digest: hash.copy().digest('hex') };
}

async function readRecord(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

/** Gives the staged file its content name. False when the name `content` no longer leads to the file that was verified here. */
async function nameContent(folder: string, staged: FileHandle, contentPath: string): Promise<boolean> {
  const verified = await staged.stat({ bigint: true });
  await link(join(folder, 'content'), contentPath);
  const named = await lstat(contentPath, { bigint: true });
  if (named.ino === verified.ino && named.dev === verified.dev) return true;
  await unlinkIfPresent(contentPath);
  return false;
}
