import { createHash } from 'node:crypto';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { backOff } from './back-off.ts';
import { refuseDamage } from './file-delivery.ts';
import type { ObjectInfo } from './port.ts';
import type { OpenedObject, S3Bucket } from './s3-bucket.ts';
import { Aborted } from './s3-failures.ts';

/** Cuts of the connection in a row that brought not one byte. */
const EMPTY_CUTS = 5;
/** Damage is read once more from the beginning: the second reading tells damage on the way from damage in the store. */
const READINGS = 2;

/** An object as it was opened, with the promise that it is ours. */
export interface ReadableObject extends OpenedObject {
  readonly info: ObjectInfo;
}

/** Opens an object; `ObjectNotFound` when it is absent or not of this store. */
export async function openObject(
  bucket: S3Bucket,
  key: string,
  options: { readonly etag?: string; readonly signal?: AbortSignal | undefined } = {},
): Promise<ReadableObject> {
  const opened = await bucket.open(key, options);
  if (opened !== null && opened.info !== null) return { ...opened, info: opened.info };
  opened?.body.destroy();
  throw new TrainyardError('ObjectNotFound', `object ${key} does not exist`);
}

/**
 * Gives all of an object to `write`, in order, and resolves when it was compared with the recorded SHA-256 (OS-3). A cut connection is
 * continued where it broke; damage starts again from position 0, then it is `ChecksumMismatch`.
 */
export async function readVerified(
  bucket: S3Bucket,
  opened: ReadableObject,
  write: (piece: Buffer, position: number) => Promise<void> | void,
  signal?: AbortSignal,
): Promise<void> {
  let current = opened;
  for (let reading = 1; ; reading++) {
    const { bytes, sha256 } = await readOnce(bucket, current, write, signal);
    const { info, etag } = opened;
    if (bytes === info.bytes && sha256 === info.sha256) return;
    if (reading === READINGS) refuseDamage(info, bytes, sha256);
    current = await openObject(bucket, info.key, { etag, signal });
  }
}

/** Reads to the end of the object, or to the first byte beyond its recorded size. */
async function readOnce(
  bucket: S3Bucket,
  opened: ReadableObject,
  write: (piece: Buffer, position: number) => Promise<void> | void,
  signal: AbortSignal | undefined,
): Promise<{ bytes: number; sha256: string }> {
  const { info, etag } = opened;
  const hash = createHash('sha256');
  let { body, storedBytes } = opened;
  let bytes = 0;
  let excess = 0;
  for (let cuts = 0; ; ) {
    const before = bytes;
    const cut = await eachPiece(body, signal, async (piece) => {
      if (bytes + piece.length > info.bytes) excess = piece.length;
      if (excess > 0) return false;
      hash.update(piece);
      await write(piece, bytes);
      bytes += piece.length;
      return true;
    });
    // The server itself says that it holds less: that is no cut.
    if (cut === null || bytes >= info.bytes || bytes >= storedBytes)
      return { bytes: bytes + excess, sha256: hash.digest('hex') };
    cuts = bytes > before ? 1 : cuts + 1;
    if (cuts > EMPTY_CUTS)
      throw new TrainyardError('StoreUnavailable', `reading ${info.key}: the connection broke ${cuts} times: ${cut}`);
    await backOff(cuts, signal);
    const next = await bucket.open(info.key, { start: bytes, etag, signal });
    if (next === null) throw new TrainyardError('ObjectNotFound', `object ${info.key} was deleted while it was read`);
    ({ body, storedBytes } = next);
  }
}

/**
 * Calls `take` with the pieces of a body until it answers false. Null: there is nothing more to take. A text: the body broke off, and
 * why. What `take` throws passes.
 */
async function eachPiece(
  body: OpenedObject['body'],
  signal: AbortSignal | undefined,
  take: (piece: Buffer) => Promise<boolean>,
): Promise<string | null> {
  const pieces = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      if (signal?.aborted === true) throw new Aborted('aborted', { cause: signal.reason });
      let next: IteratorResult<Buffer>;
      try {
        next = await pieces.next();
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
      // A body may also end early without an error, when something between us and the server shortened it.
      if (next.done === true) return 'it ended early';
      if (!(await take(next.value))) return null;
    }
  } finally {
    body.destroy();
  }
}
