import type { Readable } from 'node:stream';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ObjectInfo, Sha256 } from './port.ts';

/** Carries an error of the caller's stream past the mapping of the store's own errors. */
export class BodyFailure extends Error {}

/** The pieces of the caller's stream; its own error comes as a `BodyFailure`. */
export async function* piecesOf(body: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const piece of body) yield Buffer.isBuffer(piece) ? piece : Buffer.from(piece as Uint8Array | string);
  } catch (cause) {
    throw new BodyFailure('the body failed', { cause });
  }
}

/** `ChecksumMismatch` when the caller gave another digest than the content has. */
export function expectDigest(actual: ObjectInfo, expected: Sha256 | undefined): void {
  if (expected === undefined || actual.sha256 === expected) return;
  throw new TrainyardError(
    'ChecksumMismatch',
    `object ${actual.key}: the content has another SHA-256 than the one given`,
    {
      details: { key: actual.key, bytes: actual.bytes, sha256: actual.sha256, expectedSha256: expected },
    },
  );
}

export const tooLarge = (key: string, maxBytes: number): TrainyardError =>
  new TrainyardError('BodyTooLarge', `object ${key} is larger than ${maxBytes} bytes`, { details: { key, maxBytes } });
