import { randomBytes } from 'node:crypto';
import type { ObjectInfo } from './port.ts';

/**
 * What the user metadata of an object says. S3 has no whole-object SHA-256 of an object that came in parts (its checksum is one of the
 * parts' checksums), so the store records its own, at creation, together with the bytes.
 */
export interface S3Object {
  /** Null for an object that another program put there: it has no digest, so for this store it is no object. */
  readonly info: ObjectInfo | null;
  /** Random name of the call that created it: tells "my first try did it" from "somebody else did". */
  readonly creator: string;
  readonly etag: string;
}

export interface NewS3Object extends ObjectInfo {
  readonly creator: string;
}

export const newCreator = (): string => randomBytes(8).toString('hex');

/** The user metadata, sent as `x-amz-meta-sha256`, `-bytes`, `-creator`. */
export const metadataOf = ({ sha256, bytes, creator }: NewS3Object): Record<string, string> => ({
  sha256,
  bytes: String(bytes),
  creator,
});

export function objectOf(
  key: string,
  metadata: Readonly<Record<string, string>> | undefined,
  etag: string | undefined,
): S3Object {
  const { sha256 = '', bytes = '', creator = '' } = metadata ?? {};
  const isOurs = /^[0-9a-f]{64}$/.test(sha256) && /^\d{1,15}$/.test(bytes);
  return { info: isOurs ? { key, bytes: Number(bytes), sha256 } : null, creator, etag: etag ?? '' };
}

/** S3 speaks of checksums in base64. */
export const base64Of = (sha256: string): string => Buffer.from(sha256, 'hex').toString('base64');

/** Null for anything that is no SHA-256, as the checksum of checksums that an object in parts has. */
export function hexOf(base64: string | undefined): string | null {
  if (base64?.length !== 44) return null;
  return Buffer.from(base64, 'base64').toString('hex');
}
