import { open, stat } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { onWorkspace, readRange, sha256Of, writeRange } from './durable-files.ts';
import { deliverAside, holdsContent } from './file-delivery.ts';
import type { StoreWrite } from './file-upload.ts';
import { BodyFailure, expectDigest, tooLarge } from './incoming-body.ts';
import { MAX_IN_MEMORY_BYTES, PART_BYTES, partBytesFor, PARTS_IN_FLIGHT } from './limits.ts';
import { checkKey, checkPrefix } from './object-keys.ts';
import { PartBuffers } from './part-buffers.ts';
import type { ObjectInfo, ObjectStore, PutOptions, PutResult, Sha256 } from './port.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { createObject, findKnown } from './s3-creation.ts';
import { openObject, readVerified } from './s3-download.ts';
import { Aborted, asStoreFailure } from './s3-failures.ts';
import { planFile, uploadFile } from './s3-file-upload.ts';
import { collectS3Garbage } from './s3-garbage.ts';
import { listObjects } from './s3-listing.ts';
import { newCreator } from './s3-object.ts';
import { STAGING_PREFIX, uploadStream } from './s3-stream-upload.ts';
import type { S3Location } from './s3-url.ts';

/** 64 parts of 8 MiB: a copy of 512 MiB takes a server seconds, not minutes of silence. */
const PARTS_PER_COPY = 64;

export interface S3ObjectStoreOptions {
  readonly location: S3Location;
  /** Bytes of a part, at least 5 MiB (S3's limit), default 8 MiB; a file of at most that size is stored in one request. */
  readonly partBytes?: number;
  /** Parts of a stream that the server copies in one request, default 64; at most 5 GiB of them. */
  readonly partsPerCopy?: number;
  /** Called after each body or part that was sent (not for reused parts). What it throws fails the call. */
  readonly onWrite?: (write: StoreWrite) => void;
  /** Overrides what follows from the location. */
  readonly client?: S3ClientConfig;
}

/** The object store in an S3 bucket (`s3://bucket/prefix`). Layout, cost and permissions: README.md beside. Many processes may share it. */
export class S3ObjectStore implements ObjectStore {
  readonly #options: S3ObjectStoreOptions;
  readonly #partBytes: number;
  readonly #buffers = new PartBuffers(PARTS_IN_FLIGHT);
  #bucket: Promise<S3Bucket> | null = null;
  #wasWritable = false;

  constructor(options: S3ObjectStoreOptions) {
    this.#options = options;
    this.#partBytes = options.partBytes ?? PART_BYTES;
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutResult> {
    this.#checkKey(key);
    if (body.length > MAX_IN_MEMORY_BYTES) throw tooLarge(key, MAX_IN_MEMORY_BYTES);
    return this.#run(`storing ${key}`, options.signal, (bucket) => this.#putBody(bucket, key, body, options));
  }

  async putStream(
    key: string,
    body: Readable,
    options: PutOptions & { readonly maxBytes: number },
  ): Promise<PutResult> {
    this.#checkKey(key);
    const { sha256, signal, maxBytes } = options;
    if (signal !== undefined) addAbortSignal(signal, body);
    return this.#run(`storing ${key}`, signal, (bucket) =>
      uploadStream({
        bucket,
        key,
        body,
        maxBytes,
        partBytes: partBytesFor(maxBytes, this.#partBytes),
        partsPerCopy: this.#options.partsPerCopy ?? PARTS_PER_COPY,
        sha256,
        signal,
        onWrite: (part, bytes) => this.#options.onWrite?.({ key, part, bytes }),
      }),
    );
  }

  async putFile(key: string, path: string, options: PutOptions = {}): Promise<PutResult> {
    this.#checkKey(key);
    const { signal } = options;
    return this.#run(`storing ${key}`, signal, async (bucket) => {
      // The caller's digest is enough to see that nothing needs to be read.
      if (options.sha256 !== undefined) {
        const known = await findKnown(bucket, { key, sha256: options.sha256 });
        if (known !== null) return known;
      }
      const { size } = await onWorkspace(`reading ${path}`, () => stat(path));
      if (size <= this.#partBytes) return this.#putSmallFile(bucket, key, path, size, options);
      const plan = await planFile(path, partBytesFor(size, this.#partBytes), signal);
      expectDigest({ key, bytes: plan.bytes, sha256: plan.sha256 }, options.sha256);
      const onWrite = this.#options.onWrite;
      return uploadFile({ bucket, buffers: this.#buffers, key, path, plan, signal, onWrite });
    });
  }

  async get(key: string): Promise<Buffer> {
    this.#checkKey(key);
    return this.#run(`reading ${key}`, undefined, async (bucket) => {
      const opened = await openObject(bucket, key);
      if (opened.info.bytes > MAX_IN_MEMORY_BYTES) {
        opened.body.destroy();
        throw tooLarge(key, MAX_IN_MEMORY_BYTES);
      }
      const content = Buffer.allocUnsafe(opened.info.bytes);
      await readVerified(bucket, opened, (piece, position) => {
        piece.copy(content, position);
      });
      return content;
    });
  }

  async getToFile(
    key: string,
    path: string,
    options: { readonly sha256?: Sha256; readonly signal?: AbortSignal } = {},
  ): Promise<ObjectInfo> {
    this.#checkKey(key);
    const { signal } = options;
    return this.#run(`reading ${key}`, signal, async (bucket) => {
      signal?.throwIfAborted();
      const stored = await bucket.head(key);
      const info = stored?.info ?? null;
      if (stored === null || info === null) throw new TrainyardError('ObjectNotFound', `object ${key} does not exist`);
      expectDigest(info, options.sha256);
      if (await onWorkspace(`reading ${path}`, () => holdsContent(path, info, signal))) return info;
      await deliverAside(path, async (target) => {
        const opened = await openObject(bucket, key, { etag: stored.etag, signal });
        const write = (piece: Buffer, position: number): Promise<void> =>
          onWorkspace(`writing ${path}`, () => writeRange(target, piece, position));
        await readVerified(bucket, opened, write, signal);
      });
      return info;
    });
  }

  async head(key: string): Promise<ObjectInfo | null> {
    this.#checkKey(key);
    return this.#run(`looking at ${key}`, undefined, async (bucket) => (await bucket.head(key))?.info ?? null);
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    try {
      yield* listObjects(await this.#open(), prefix);
    } catch (error) {
      throw asStoreFailure(error, `listing ${prefix}`);
    }
  }

  async delete(key: string): Promise<void> {
    this.#checkKey(key);
    await this.#run(`deleting ${key}`, undefined, (bucket) => bucket.delete(key));
  }

  /** Uploads of other programs below the prefix are aborted too: give the store a prefix of its own. */
  async collectGarbage(bounds: { readonly olderThanMs: number; readonly now: number }): Promise<{ bytes: number }> {
    return this.#run('collecting garbage', undefined, (bucket) =>
      collectS3Garbage(bucket, bounds.now - bounds.olderThanMs),
    );
  }

  /** Lists; until it worked once, also begins an upload and aborts it: a key that may only read is found at the start. */
  async check(): Promise<void> {
    const { bucket: name, prefix, endpoint } = this.#options.location;
    try {
      const bucket = await this.#open();
      await bucket.list('', { limit: 1 });
      if (this.#wasWritable) return;
      await bucket.uploads.abort(await bucket.uploads.begin(`${STAGING_PREFIX}check`, null, false));
      this.#wasWritable = true;
    } catch (error) {
      const place = `s3://${name}/${prefix}${endpoint === undefined ? '' : ` at ${endpoint}`}`;
      const { details } = error as { details?: Record<string, unknown> };
      throw new TrainyardError('StoreUnavailable', `${place}: ${messageOf(error)}`, { ...(details && { details }) });
    }
  }

  async #putBody(bucket: S3Bucket, key: string, body: Uint8Array, options: PutOptions): Promise<PutResult> {
    const info = { key, bytes: body.length, sha256: sha256Of(body) };
    expectDigest(info, options.sha256);
    options.signal?.throwIfAborted();
    const known = await findKnown(bucket, info);
    if (known !== null) return known;
    const result = await createObject(bucket, { ...info, creator: newCreator() }, body, options.signal);
    this.#options.onWrite?.({ key, part: 1, bytes: body.length });
    return result;
  }

  #putSmallFile(bucket: S3Bucket, key: string, path: string, size: number, options: PutOptions): Promise<PutResult> {
    // One byte more than it had, so that a file that grew is not cut.
    return this.#buffers.use(size + 1, async (buffer) => {
      const body = await onWorkspace(`reading ${path}`, async () => {
        const file = await open(path);
        try {
          return await readRange(file, buffer, size + 1, 0);
        } finally {
          await file.close();
        }
      });
      if (body.length > size)
        throw new TrainyardError('ChecksumMismatch', `${path} changed while it was stored as ${key}`);
      return this.#putBody(bucket, key, body, options);
    });
  }

  /** The bucket's limit is for prefix and key together. */
  #checkKey(key: string): void {
    checkKey(key, this.#options.location.prefix.length);
  }

  async #run<T>(what: string, signal: AbortSignal | undefined, work: (bucket: S3Bucket) => Promise<T>): Promise<T> {
    try {
      return await work(await this.#open());
    } catch (error) {
      if (error instanceof Aborted || error instanceof BodyFailure) throw error.cause;
      // Waiting between two tries, or between two parts.
      if (signal?.aborted === true && !(error instanceof TrainyardError)) throw signal.reason;
      throw asStoreFailure(error, `object store: ${what}`);
    }
  }

  /** The SDK is loaded when it is needed: it would cost every process of the embedded profile start-up time and memory. */
  async #open(): Promise<S3Bucket> {
    this.#bucket ??= import('./s3-bucket.ts').then(
      ({ S3Bucket }) => new S3Bucket(this.#options.location, this.#options.client),
    );
    return this.#bucket;
  }
}
