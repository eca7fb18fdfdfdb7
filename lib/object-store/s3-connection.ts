import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { Aborted, asStoreFailure, isConflict, isDamagedBody, isS3Code, isTaken, isUploadGone } from './s3-failures.ts';
import type { S3Location } from './s3-url.ts';

/** Tries of one request, the first included: with the SDK's back-off (100 ms doubled, 500 ms when throttled) about 3 s in all. */
const MAX_ATTEMPTS = 5;
const CONNECT_TIMEOUT_MS = 5_000;
/** Silence on a connection. A server that assembles or copies a large object is silent that long. */
const SILENCE_TIMEOUT_MS = 60_000;
/** A body that was damaged on the way is sent again this often; the SDK takes the refusal for our mistake and does not. */
const DAMAGED_TRIES = 3;

/**
 * What became of a conditional creation. `conflict`: another one is under way, try again. `gone`: the upload is over, or its parts
 * are others than the ones named.
 */
export type Creation = 'created' | 'exists' | 'conflict' | 'gone';

type Sending<T> = (options: { abortSignal?: AbortSignal }) => Promise<T>;

/** The SDK's client for one bucket, with our limits, and what its errors mean. The prefix is added to keys here and nowhere else. */
export class S3Connection {
  readonly client: S3Client;
  readonly #location: S3Location;

  /** `config` overrides what follows from the location: credentials or a request handler of a test. */
  constructor(location: S3Location, config: S3ClientConfig = {}) {
    this.#location = location;
    this.client = new S3Client({
      ...(location.endpoint === undefined ? {} : { endpoint: location.endpoint }),
      ...(location.region === undefined ? {} : { region: location.region }),
      forcePathStyle: location.pathStyle,
      maxAttempts: MAX_ATTEMPTS,
      // Every body is sent with its SHA-256 and read back against the recorded one: the SDK's CRC32 would be a second pass.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // It costs a round trip and a new connection for every part.
      expectContinueHeader: false,
      requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: SILENCE_TIMEOUT_MS },
      ...config,
    });
  }

  get bucket(): string {
    return this.#location.bucket;
  }

  get prefix(): string {
    return this.#location.prefix;
  }

  named(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: `${this.prefix}${key}` };
  }

  /** Of a request that creates an object or an upload. */
  encryption(): { ServerSideEncryption?: 'AES256' | 'aws:kms'; SSEKMSKeyId?: string } {
    const { encryption } = this.#location;
    if (encryption === null) return {};
    const { mode, kmsKeyId } = encryption;
    return { ServerSideEncryption: mode, ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }) };
  }

  async creation(send: Sending<unknown>, what: string, signal?: AbortSignal): Promise<Creation> {
    try {
      await this.send(send, signal);
      return 'created';
    } catch (error) {
      if (isTaken(error)) return 'exists';
      if (isConflict(error)) return 'conflict';
      if (isUploadGone(error) || isS3Code(error, 'InvalidPart', 'InvalidPartOrder')) return 'gone';
      throw asStoreFailure(error, what);
    }
  }

  async request<T>(send: Sending<T>, what: string, signal?: AbortSignal): Promise<T> {
    try {
      return await this.send(send, signal);
    } catch (error) {
      throw asStoreFailure(error, what);
    }
  }

  /** Errors of the SDK pass as they are: what they mean depends on the request. */
  async send<T>(send: Sending<T>, signal?: AbortSignal): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await send(signal === undefined ? {} : { abortSignal: signal });
      } catch (error) {
        if (signal?.aborted === true) throw new Aborted('aborted', { cause: signal.reason });
        if (!isDamagedBody(error) || tries >= DAMAGED_TRIES) throw error;
      }
    }
  }
}

/**
 * Middleware that signs the body's SHA-256, which is known already, instead of hashing the body once more. It is part of the
 * signature, so the server refuses other bytes also where an upload keeps no checksums.
 */
export const signPayload =
  (sha256: string) =>
  <Args extends { readonly request: unknown }, Result>(next: (args: Args) => Promise<Result>) =>
  (args: Args): Promise<Result> => {
    (args.request as { headers: Record<string, string> }).headers['x-amz-content-sha256'] = sha256;
    return next(args);
  };
