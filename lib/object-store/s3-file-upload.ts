import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { backOff } from './back-off.ts';
import { chunksOf, onWorkspace, readRange } from './durable-files.ts';
import type { StoreWrite } from './file-upload.ts';
import { PARTS_IN_FLIGHT } from './limits.ts';
import type { PartBuffers } from './part-buffers.ts';
import type { PutResult } from './port.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { findKnown, refuseNeighbours, sameOrRefused } from './s3-creation.ts';
import { isExists } from './s3-failures.ts';
import { newCreator, type S3Object } from './s3-object.ts';
import {
  claimCompletion,
  readRecord,
  removeRecord,
  type UploadRecord,
  type UploadSubject,
  uploadOf,
  writeRecord,
} from './s3-upload-record.ts';
import type { S3Part } from './s3-uploads.ts';

/** An upload begins again, with the parts that are there, when another process completed, aborted or changed it meanwhile. */
const UPLOAD_TRIES = 6;
/** An upload that is over but whose object is not visible yet (another process is completing it) is looked for this often, about 5 s. */
const VISIBLE_LOOKS = 8;
/** After an abort, parts on their way may arrive: what is sent need not be sent again when the upload goes on. */
const LINGER_MS = 2_000;

/** A file as the parts it is sent in. Every part has a digest of its own, which the server compares. */
export interface FilePlan {
  readonly bytes: number;
  readonly sha256: string;
  readonly partBytes: number;
  readonly digests: readonly string[];
}

export interface FileUpload {
  readonly bucket: S3Bucket;
  readonly buffers: PartBuffers;
  readonly key: string;
  readonly path: string;
  readonly plan: FilePlan;
  readonly signal: AbortSignal | undefined;
  readonly onWrite: ((write: StoreWrite) => void) | undefined;
}

/** Reads the file once; the whole digest has to be known before the first part, because the metadata go first. */
export async function planFile(path: string, partBytes: number, signal?: AbortSignal): Promise<FilePlan> {
  return onWorkspace(`reading ${path}`, async () => {
    const file = await open(path, constants.O_RDONLY);
    try {
      const whole = createHash('sha256');
      let part = createHash('sha256');
      const digests: string[] = [];
      let bytes = 0;
      for await (const chunk of chunksOf(file, signal)) {
        whole.update(chunk);
        for (let at = 0; at < chunk.length; ) {
          const take = Math.min(chunk.length - at, partBytes - (bytes % partBytes));
          part.update(chunk.subarray(at, at + take));
          at += take;
          bytes += take;
          if (bytes % partBytes !== 0) continue;
          digests.push(part.digest('hex'));
          part = createHash('sha256');
        }
      }
      if (bytes % partBytes !== 0) digests.push(part.digest('hex'));
      return { bytes, sha256: whole.digest('hex'), partBytes, digests };
    } finally {
      await file.close();
    }
  });
}

/**
 * Uploads a file in parts (OS-4): goes on with the running upload of this very content under this key, sends the parts whose size or
 * digest the server does not report, and completes it if the key is still free. Several processes may work on one upload at once:
 * all of them send equal bytes, and one is told that it created the object.
 */
export async function uploadFile(upload: FileUpload): Promise<PutResult> {
  const { bucket, key, plan, signal } = upload;
  const subject = { key, bytes: plan.bytes, sha256: plan.sha256, partBytes: plan.partBytes };
  for (let tries = 1; tries <= UPLOAD_TRIES; tries++) {
    const known = await findKnown(bucket, subject);
    if (known !== null) return known;
    const running = await findOrBegin(bucket, subject);
    if (running === null) continue;
    const { record, stored } = running;
    try {
      const parts = await sendMissing(upload, record, stored);
      const result = parts === null ? null : await complete(upload, subject, record, parts);
      if (result !== null) return result;
    } catch (error) {
      // The key is taken: nothing can come of the parts.
      if (isExists(error)) await forget(bucket, subject, record);
      throw error;
    }
    await backOff(tries, signal);
  }
  throw new TrainyardError('StoreUnavailable', `object ${key}: its upload was ended ${UPLOAD_TRIES} times by others`);
}

/** The running upload and what it holds; null when its object became visible meanwhile. */
async function findOrBegin(
  bucket: S3Bucket,
  subject: UploadSubject,
): Promise<{ record: UploadRecord; stored: readonly S3Part[] } | null> {
  for (let tries = 1; tries <= UPLOAD_TRIES; tries++) {
    const found = await readRecord(bucket, subject);
    const stored = found === null ? null : await bucket.uploads.parts(uploadOf(subject, found));
    if (found !== null && stored !== null) return { record: found, stored };
    if (found !== null) {
      // Completed by another process, which still needs the record to say so.
      if ((await awaitVisible(bucket, subject.key)) !== null) return null;
      // Completed and deleted since, or aborted for its age.
      await removeRecord(bucket, subject);
    }
    const creator = newCreator();
    const upload = await bucket.uploads.begin(subject.key, { ...subject, creator }, true);
    const record = { uploadId: upload.uploadId, creator, completedBy: null };
    if (await writeRecord(bucket, subject, record)) return { record, stored: [] };
    await bucket.uploads.abort(upload);
  }
  throw new TrainyardError('StoreUnavailable', `object ${subject.key}: no upload could be begun`);
}

/** All parts as the server holds them, in order; null when the upload was ended meanwhile. */
async function sendMissing(
  upload: FileUpload,
  record: UploadRecord,
  stored: readonly S3Part[],
): Promise<S3Part[] | null> {
  const { plan, path, signal } = upload;
  const parts = new Map<number, S3Part>();
  for (const part of stored)
    if (part.bytes === sizeOf(plan, part.number) && part.sha256 === plan.digests[part.number - 1])
      parts.set(part.number, part);
  const missing = plan.digests.map((_, index) => index + 1).filter((number) => !parts.has(number));
  if (missing.length > 0) {
    const file = await onWorkspace(`reading ${path}`, () => open(path, constants.O_RDONLY));
    const linger = lingering(signal);
    try {
      const sent = await inLanes(missing, (number) => {
        signal?.throwIfAborted();
        return sendPart(upload, record, file, number, linger.signal);
      });
      for (const part of sent) if (part !== null) parts.set(part.number, part);
    } finally {
      linger.end();
      await file.close();
    }
  }
  return parts.size === plan.digests.length ? [...parts.values()].sort((a, b) => a.number - b.number) : null;
}

const sizeOf = ({ bytes, partBytes }: FilePlan, number: number): number =>
  Math.min(partBytes, bytes - (number - 1) * partBytes);

async function sendPart(
  { bucket, buffers, key, path, plan, onWrite }: FileUpload,
  { uploadId }: UploadRecord,
  file: FileHandle,
  number: number,
  signal: AbortSignal | undefined,
): Promise<S3Part | null> {
  const bytes = sizeOf(plan, number);
  return buffers.use(bytes, async (buffer) => {
    const position = (number - 1) * plan.partBytes;
    const body = await onWorkspace(`reading ${path}`, () => readRange(file, buffer, bytes, position));
    const sha256 = plan.digests[number - 1] ?? '';
    const part = { number, body, sha256, checksums: true };
    const sent = await bucket.uploads.send({ key, uploadId }, part, signal).catch((error: unknown) => {
      // The digest is from the plan: a server that refuses the body again and again says that the file is another one now.
      if ((error as { code?: unknown }).code !== 'ChecksumMismatch') throw error;
      throw new TrainyardError('ChecksumMismatch', `${path} changed while it was stored as ${key}`, { cause: error });
    });
    if (sent !== null) onWrite?.({ key, part: number, bytes });
    return sent;
  });
}

/** Runs `work` on the items, a few at once. The first failure, or a null, starts nothing new; all that run are waited for. */
async function inLanes<T>(items: readonly number[], work: (item: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  const failures: unknown[] = [];
  let next = 0;
  let stopped = false;
  const lane = async (): Promise<void> => {
    while (next < items.length && !stopped) {
      try {
        const result = await work(items[next++] ?? 0);
        results.push(result);
        if (result === null) stopped = true;
      } catch (error) {
        stopped = true;
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: PARTS_IN_FLIGHT }, lane));
  if (failures.length > 0) throw failures[0];
  return results;
}

/** A signal that follows `signal` by `LINGER_MS`. */
function lingering(signal: AbortSignal | undefined): { signal: AbortSignal | undefined; end: () => void } {
  if (signal === undefined) return { signal, end: () => undefined };
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => late.abort(signal.reason), LINGER_MS);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  const end = (): void => {
    signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  };
  return { signal: late.signal, end };
}

/** Null: it has to be tried again. What the key holds in the end decides, not the answer to the completion. */
async function complete(
  upload: FileUpload,
  subject: UploadSubject,
  record: UploadRecord,
  parts: readonly S3Part[],
): Promise<PutResult | null> {
  const { bucket, signal } = upload;
  const { key } = subject;
  signal?.throwIfAborted();
  const completion = await bucket.uploads.complete(uploadOf(subject, record), parts);
  const existing = await (completion === 'created' ? awaitVisible(bucket, key, signal) : bucket.head(key));
  if (existing === null) {
    if (completion === 'exists') await refuseNeighbours(bucket, key);
    return null;
  }
  const info = sameOrRefused(existing, subject);
  const created = existing.creator === record.creator && (await claimCompletion(bucket, subject, record));
  await forget(bucket, subject, record);
  return { ...info, created };
}

async function awaitVisible(bucket: S3Bucket, key: string, signal?: AbortSignal): Promise<S3Object | null> {
  for (let looks = 1; looks <= VISIBLE_LOOKS; looks++) {
    const existing = await bucket.head(key);
    if (existing !== null) return existing;
    await backOff(looks, signal);
  }
  return null;
}

/** Removes what is left of an upload that is over for us: its parts, if the object came from another one, and the record. */
async function forget(bucket: S3Bucket, subject: UploadSubject, record: UploadRecord): Promise<void> {
  await bucket.uploads.abort(uploadOf(subject, record));
  await removeRecord(bucket, subject);
}
