import { createHash, type Hash, randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { backOff } from './back-off.ts';
import { expectDigest, piecesOf, tooLarge } from './incoming-body.ts';
import type { ObjectInfo, PutResult, Sha256 } from './port.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { createObject, findKnown, sameOrRefused } from './s3-creation.ts';
import { newCreator } from './s3-object.ts';
import type { S3Part, S3Upload } from './s3-uploads.ts';

export const STAGING_PREFIX = '~staging/';

/** Completions of one upload that met another creator; see `s3-creation.ts`. */
const COMPLETE_TRIES = 6;

export interface StreamUpload {
  readonly bucket: S3Bucket;
  readonly key: string;
  readonly body: Readable;
  readonly maxBytes: number;
  readonly partBytes: number;
  /** Parts of the stream that the server copies in one request; S3 copies at most 5 GiB at once. */
  readonly partsPerCopy: number;
  readonly sha256: Sha256 | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onWrite: (part: number, bytes: number) => void;
}

/**
 * Stores a stream whose digest is known only at its end, while an object's metadata have to be given at its beginning. So a stream
 * of more than one part goes to `~staging/<random>` first, and the server copies it to its key, with the digest in the metadata,
 * and answers the SHA-256 of what it copied. Memory: two parts. Nothing of a stream that fails stays.
 */
export async function uploadStream(upload: StreamUpload): Promise<PutResult> {
  const staged = new StagedParts(upload);
  try {
    for await (const piece of piecesOf(upload.body)) {
      if (staged.bytes + piece.length > upload.maxBytes) throw tooLarge(upload.key, upload.maxBytes);
      await staged.add(piece);
    }
    const info = staged.describe();
    expectDigest(info, upload.sha256);
    upload.signal?.throwIfAborted();
    const known = await findKnown(upload.bucket, info);
    if (known !== null) return known;
    const single = staged.single();
    if (single === null) return await publish(upload, info, staged.key, await staged.finish());
    const result = await createObject(upload.bucket, { ...info, creator: newCreator() }, single, upload.signal);
    upload.onWrite(1, info.bytes);
    return result;
  } finally {
    await staged.discard();
  }
}

/** Bytes that the server copies in one request, and the digest that its answer must have. */
interface CopyRange {
  readonly start: number;
  readonly end: number;
  readonly sha256: string;
}

/** The parts of a stream on their way to the staging key: one is filled while the one before is sent. */
class StagedParts {
  readonly key = `${STAGING_PREFIX}${randomBytes(16).toString('hex')}`;
  readonly #upload: StreamUpload;
  readonly #whole: Hash = createHash('sha256');
  readonly #parts: S3Part[] = [];
  readonly #ranges: CopyRange[] = [];
  #part: Hash = createHash('sha256');
  #range: Hash = createHash('sha256');
  #buffer = Buffer.allocUnsafe(0);
  #other = Buffer.allocUnsafe(0);
  #filled = 0;
  #bytes = 0;
  #sentParts = 0;
  #sending: Promise<void> = Promise.resolve();
  #staging: S3Upload | null = null;
  #isComplete = false;

  constructor(upload: StreamUpload) {
    this.#upload = upload;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async add(piece: Buffer): Promise<void> {
    const { partBytes } = this.#upload;
    for (let at = 0; at < piece.length; ) {
      // Sent when more follows: a stream of exactly one part is stored in one request.
      if (this.#filled === partBytes) await this.#send();
      if (this.#buffer.length === 0) this.#buffer = Buffer.allocUnsafeSlow(partBytes);
      const slice = piece.subarray(at, at + partBytes - this.#filled);
      slice.copy(this.#buffer, this.#filled);
      for (const hash of [this.#whole, this.#range, this.#part]) hash.update(slice);
      this.#filled += slice.length;
      this.#bytes += slice.length;
      at += slice.length;
    }
  }

  describe(): ObjectInfo {
    return { key: this.#upload.key, bytes: this.#bytes, sha256: this.#whole.copy().digest('hex') };
  }

  /** The whole stream, when it fits one part. */
  single(): Buffer | null {
    return this.#staging === null ? this.#buffer.subarray(0, this.#filled) : null;
  }

  /** Makes the staged object whole and answers how to copy it. */
  async finish(): Promise<readonly CopyRange[]> {
    const { bucket } = this.#upload;
    await this.#send();
    await this.#sending;
    if (this.#staging === null) throw new TrainyardError('StoreUnavailable', `${this.key} was not begun`);
    const completion = await bucket.uploads.complete(this.#staging, this.#parts);
    this.#isComplete = true;
    // Nobody else knows the key: "exists" and "gone" are an earlier try of ours whose answer got lost.
    if (completion !== 'created' && (await bucket.head(this.key)) === null)
      throw new TrainyardError('StoreUnavailable', `${this.key} was not stored: ${completion}`);
    return this.#ranges;
  }

  /** Leaves nothing of the staging. What a failure leaves after all is for the garbage collection. */
  async discard(): Promise<void> {
    const { bucket } = this.#upload;
    await this.#sending.catch(() => undefined);
    if (this.#staging === null) return;
    if (!this.#isComplete) await bucket.uploads.abort(this.#staging).catch(() => undefined);
    else await bucket.delete(this.key).catch(() => undefined);
  }

  /** Waits for the part before and starts sending the filled one. */
  async #send(): Promise<void> {
    const { bucket, partBytes, partsPerCopy, signal, onWrite } = this.#upload;
    await this.#sending;
    this.#staging ??= await bucket.uploads.begin(this.key, null, false);
    const staging = this.#staging;
    const number = ++this.#sentParts;
    const body = this.#buffer.subarray(0, this.#filled);
    const sha256 = this.#part.digest('hex');
    if (number % partsPerCopy === 0 || body.length < partBytes) this.#endRange();
    this.#sending = (async () => {
      const sent = await bucket.uploads.send(staging, { number, body, sha256, checksums: false }, signal);
      if (sent === null) throw new TrainyardError('StoreUnavailable', `the upload ${this.key} was aborted by others`);
      this.#parts.push(sent);
      onWrite(number, sent.bytes);
    })();
    // Awaited with the next part; marked as handled so that a failure of the body in between does not orphan its rejection.
    this.#sending.catch(() => undefined);
    [this.#buffer, this.#other] = [this.#other, this.#buffer];
    this.#filled = 0;
    this.#part = createHash('sha256');
  }

  #endRange(): void {
    const start = this.#ranges.at(-1)?.end ?? 0;
    this.#ranges.push({ start, end: this.#bytes, sha256: this.#range.digest('hex') });
    this.#range = createHash('sha256');
  }
}

/** Copies the staged object to its key, with its digest, and makes it visible if the key is still free. */
async function publish(
  upload: StreamUpload,
  info: ObjectInfo,
  source: string,
  ranges: readonly CopyRange[],
): Promise<PutResult> {
  const { bucket, key, signal } = upload;
  const creator = newCreator();
  const target = await bucket.uploads.begin(key, { ...info, creator }, true);
  try {
    const parts: S3Part[] = [];
    for (const [index, { start, end, sha256 }] of ranges.entries()) {
      signal?.throwIfAborted();
      const part = await bucket.uploads.copyPart(target, { number: index + 1, source, start, end });
      // A server that answers no digest is trusted with its copy: every reader compares the whole digest anyway (OS-3).
      if (part.sha256 !== null && part.sha256 !== sha256)
        throw new TrainyardError('ChecksumMismatch', `object ${key}: what the server copied is not what was sent`);
      parts.push(part);
    }
    for (let tries = 1; tries <= COMPLETE_TRIES; tries++) {
      const completion = await bucket.uploads.complete(target, parts);
      const existing = completion === 'conflict' ? null : await bucket.head(key);
      if (existing !== null) return { ...sameOrRefused(existing, info), created: existing.creator === creator };
      await backOff(tries, signal);
    }
    throw new TrainyardError(
      'StoreUnavailable',
      `object ${key} was deleted while it was created, or is another one's folder`,
    );
  } finally {
    await bucket.uploads.abort(target).catch(() => undefined);
  }
}
