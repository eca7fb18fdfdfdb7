import type { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { type Creation, S3Connection, signPayload } from './s3-connection.ts';
import { asStoreFailure, isConflict, isMissing, isTaken, statusOf } from './s3-failures.ts';
import { base64Of, metadataOf, type NewS3Object, objectOf, type S3Object } from './s3-object.ts';
import { S3Uploads } from './s3-uploads.ts';
import type { S3Location } from './s3-url.ts';

export interface OpenedObject extends S3Object {
  readonly body: Readable;
  /** Bytes of the whole stored object, whatever range is asked for. */
  readonly storedBytes: number;
}

/** The requests about objects that the store makes, in its own words. Keys are the port's. */
export class S3Bucket {
  readonly #connection: S3Connection;
  readonly uploads: S3Uploads;

  constructor(location: S3Location, config: S3ClientConfig = {}) {
    this.#connection = new S3Connection(location, config);
    this.uploads = new S3Uploads(this.#connection);
  }

  async head(key: string): Promise<S3Object | null> {
    try {
      const command = new HeadObjectCommand(this.#connection.named(key));
      const { Metadata, ETag } = await this.#connection.send((options) =>
        this.#connection.client.send(command, options),
      );
      return objectOf(key, Metadata, ETag);
    } catch (error) {
      if (isMissing(error) || statusOf(error) === 404) return null;
      throw asStoreFailure(error, `looking at ${key}`);
    }
  }

  /** The object from `start` on; null when absent. With `etag`: `StoreUnavailable` when it is another object meanwhile. */
  async open(
    key: string,
    options: { readonly start?: number; readonly etag?: string; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<OpenedObject | null> {
    const { start = 0, etag, signal } = options;
    const range = start === 0 ? {} : { Range: `bytes=${start}-` };
    const command = new GetObjectCommand({
      ...this.#connection.named(key),
      ...range,
      ...(etag === undefined ? {} : { IfMatch: etag }),
    });
    try {
      const answer = await this.#connection.send((options) => this.#connection.client.send(command, options), signal);
      const { ContentRange, ContentLength = 0 } = answer;
      const body = answer.Body as Readable;
      const [, first, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(ContentRange ?? '') ?? [];
      if (start > 0 && Number(first) !== start) {
        body.destroy();
        throw new TrainyardError('StoreUnavailable', `reading ${key}: the server does not answer ranges`);
      }
      return {
        ...objectOf(key, answer.Metadata, answer.ETag),
        body,
        storedBytes: total === undefined ? ContentLength : Number(total),
      };
    } catch (error) {
      if (isMissing(error)) return null;
      throw asStoreFailure(error, `reading ${key}`);
    }
  }

  /** Creates an object in one request, never over another one. The body has to have the object's SHA-256 or is refused. */
  async create(object: NewS3Object, body: Uint8Array, signal?: AbortSignal): Promise<Creation> {
    const command = new PutObjectCommand({
      ...this.#connection.named(object.key),
      ...this.#connection.encryption(),
      Body: body,
      ContentLength: body.length,
      ChecksumSHA256: base64Of(object.sha256),
      Metadata: metadataOf(object),
      IfNoneMatch: '*',
    });
    command.middlewareStack.add(signPayload(object.sha256), { step: 'build', name: 'signPayload' });
    return this.#connection.creation(
      (options) => this.#connection.client.send(command, options),
      `creating ${object.key}`,
      signal,
    );
  }

  /** Replaces an object that still has the ETag; false when it has another one or is gone. For the store's own records. */
  async replace(object: NewS3Object, body: Uint8Array, etag: string): Promise<boolean> {
    const command = new PutObjectCommand({
      ...this.#connection.named(object.key),
      ...this.#connection.encryption(),
      Body: body,
      ChecksumSHA256: base64Of(object.sha256),
      Metadata: metadataOf(object),
      IfMatch: etag,
    });
    const what = `replacing ${object.key}`;
    try {
      await this.#connection.send((options) => this.#connection.client.send(command, options));
      return true;
    } catch (error) {
      if (isTaken(error) || isConflict(error) || statusOf(error) === 404) return false;
      throw asStoreFailure(error, what);
    }
  }

  async delete(key: string): Promise<void> {
    const command = new DeleteObjectCommand(this.#connection.named(key));
    await this.#connection.request((options) => this.#connection.client.send(command, options), `deleting ${key}`);
  }

  /** A page of up to `limit` keys in code-point order. `next` continues; null at the end. */
  async list(
    prefix: string,
    options: { readonly next?: string | null; readonly limit?: number } = {},
  ): Promise<{ objects: { key: string; bytes: number; changedMs: number }[]; next: string | null }> {
    const { next = null, limit = 1_000 } = options;
    const command = new ListObjectsV2Command({
      Bucket: this.#connection.bucket,
      Prefix: `${this.#connection.prefix}${prefix}`,
      MaxKeys: limit,
      ...(next === null ? {} : { ContinuationToken: next }),
    });
    const page = await this.#connection.request(
      (options) => this.#connection.client.send(command, options),
      `listing ${prefix || 'it'}`,
    );
    const objects = (page.Contents ?? []).map(({ Key = '', Size = 0, LastModified }) => ({
      key: Key.slice(this.#connection.prefix.length),
      bytes: Size,
      changedMs: LastModified?.getTime() ?? Number.POSITIVE_INFINITY,
    }));
    // A listing that was cut short still parses as XML: its own count shows it.
    if (page.KeyCount !== objects.length || page.IsTruncated === undefined)
      throw new TrainyardError('StoreUnavailable', `listing ${prefix || 'it'}: the answer is incomplete`);
    return { objects, next: page.IsTruncated ? (page.NextContinuationToken ?? null) : null };
  }
}
