import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { type Creation, type S3Connection, signPayload } from './s3-connection.ts';
import { asStoreFailure, isUploadGone, statusOf } from './s3-failures.ts';
import { base64Of, hexOf, metadataOf, type NewS3Object } from './s3-object.ts';

export interface S3Upload {
  readonly key: string;
  readonly uploadId: string;
}

export interface S3Part {
  readonly number: number;
  readonly bytes: number;
  readonly etag: string;
  /** SHA-256 in hex as the server computed it; null when the upload has other checksums. */
  readonly sha256: string | null;
  readonly changedMs: number;
}

/** The requests about uploads in parts that the store makes, in its own words. */
export class S3Uploads {
  readonly #connection: S3Connection;

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  /** Starts an upload in parts. `checksums`: the server keeps each part's SHA-256 (then every part has to come with one). */
  async begin(key: string, object: NewS3Object | null, checksums: boolean): Promise<S3Upload> {
    const command = new CreateMultipartUploadCommand({
      ...this.#connection.named(key),
      ...this.#connection.encryption(),
      ...(object === null ? {} : { Metadata: metadataOf(object) }),
      ...(checksums ? { ChecksumAlgorithm: 'SHA256' } : {}),
    });
    const { UploadId = '' } = await this.#connection.request(
      (options) => this.#connection.client.send(command, options),
      `starting the upload of ${key}`,
    );
    return { key, uploadId: UploadId };
  }

  /** Sends one part; the server refuses a body of another SHA-256. Null when the upload is over. */
  async send(
    upload: S3Upload,
    part: { readonly number: number; readonly body: Uint8Array; readonly sha256: string; readonly checksums: boolean },
    signal?: AbortSignal,
  ): Promise<S3Part | null> {
    const { number, body, sha256, checksums } = part;
    const command = new UploadPartCommand({
      ...this.#ofUpload(upload),
      PartNumber: number,
      Body: body,
      ContentLength: body.length,
      ...(checksums ? { ChecksumSHA256: base64Of(sha256) } : {}),
    });
    command.middlewareStack.add(signPayload(sha256), { step: 'build', name: 'signPayload' });
    const what = `sending part ${number} of ${upload.key}`;
    try {
      const { ETag = '' } = await this.#connection.send(
        (options) => this.#connection.client.send(command, options),
        signal,
      );
      return { number, bytes: body.length, etag: ETag, sha256: checksums ? sha256 : null, changedMs: 0 };
    } catch (error) {
      if (isUploadGone(error)) return null;
      throw asStoreFailure(error, what);
    }
  }

  /** Copies bytes `start` up to `end` (exclusive) of an object into a part, on the server. */
  async copyPart(
    upload: S3Upload,
    part: { readonly number: number; readonly source: string; readonly start: number; readonly end: number },
  ): Promise<S3Part> {
    const { number, source, start, end } = part;
    const command = new UploadPartCopyCommand({
      ...this.#ofUpload(upload),
      PartNumber: number,
      CopySource: encodeURI(`${this.#connection.bucket}/${this.#connection.prefix}${source}`),
      CopySourceRange: `bytes=${start}-${end - 1}`,
    });
    const { CopyPartResult } = await this.#connection.request(
      (options) => this.#connection.client.send(command, options),
      `copying part ${number} of ${upload.key}`,
    );
    const sha256 = hexOf(CopyPartResult?.ChecksumSHA256);
    return { number, bytes: end - start, etag: CopyPartResult?.ETag ?? '', sha256, changedMs: 0 };
  }

  /** The parts that the server holds, by number; null when the upload is over. */
  async parts(upload: S3Upload): Promise<S3Part[] | null> {
    const parts: S3Part[] = [];
    const what = `listing the parts of ${upload.key}`;
    for (let marker: string | undefined; ; ) {
      const command = new ListPartsCommand({
        ...this.#ofUpload(upload),
        ...(marker === undefined ? {} : { PartNumberMarker: marker }),
      });
      try {
        const page = await this.#connection.send((options) => this.#connection.client.send(command, options));
        for (const { PartNumber = 0, Size = 0, ETag = '', ChecksumSHA256, LastModified } of page.Parts ?? [])
          parts.push({
            number: PartNumber,
            bytes: Size,
            etag: ETag,
            sha256: hexOf(ChecksumSHA256),
            changedMs: LastModified?.getTime() ?? 0,
          });
        if (page.IsTruncated !== true || page.NextPartNumberMarker === undefined) return parts;
        marker = page.NextPartNumberMarker;
      } catch (error) {
        if (isUploadGone(error)) return null;
        throw asStoreFailure(error, what);
      }
    }
  }

  /**
   * Makes the object of an upload visible, never over another one. `gone`: the upload is over, or its parts changed meanwhile.
   * `created` says only that the server accepted: some answer so again for an upload that somebody else completed.
   */
  async complete(upload: S3Upload, parts: readonly S3Part[], signal?: AbortSignal): Promise<Creation> {
    const command = new CompleteMultipartUploadCommand({
      ...this.#ofUpload(upload),
      IfNoneMatch: '*',
      MultipartUpload: {
        Parts: parts.map(({ number, etag, sha256 }) => ({
          PartNumber: number,
          ETag: etag,
          ...(sha256 === null ? {} : { ChecksumSHA256: base64Of(sha256) }),
        })),
      },
    });
    return this.#connection.creation(
      (options) => this.#connection.client.send(command, options),
      `completing ${upload.key}`,
      signal,
    );
  }

  /** Frees the parts of an upload; one that is over is fine. */
  async abort(upload: S3Upload): Promise<void> {
    const what = `aborting the upload of ${upload.key}`;
    try {
      const command = new AbortMultipartUploadCommand(this.#ofUpload(upload));
      await this.#connection.send((options) => this.#connection.client.send(command, options));
    } catch (error) {
      if (!isUploadGone(error) && statusOf(error) !== 404) throw asStoreFailure(error, what);
    }
  }

  /** Every upload below the prefix that is not over, of whatever program. */
  async *running(): AsyncGenerator<S3Upload & { readonly startedMs: number }> {
    const { bucket, prefix } = this.#connection;
    for (let marker = {}; ; ) {
      const command = new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, ...marker });
      const page = await this.#connection.request(
        (options) => this.#connection.client.send(command, options),
        'listing uploads',
      );
      for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? [])
        yield {
          key: Key.slice(prefix.length),
          uploadId: UploadId,
          startedMs: Initiated?.getTime() ?? Number.POSITIVE_INFINITY,
        };
      if (page.IsTruncated !== true) return;
      marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
  }

  #ofUpload({ key, uploadId }: S3Upload): { Bucket: string; Key: string; UploadId: string } {
    return { ...this.#connection.named(key), UploadId: uploadId };
  }
}
