import { randomBytes } from 'node:crypto';
import { sha256Of } from './durable-files.ts';
import type { ObjectInfo } from './port.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { createObject } from './s3-creation.ts';
import { openObject, readVerified } from './s3-download.ts';
import { isAbsent } from './s3-failures.ts';
import { newCreator, type NewS3Object } from './s3-object.ts';
import type { S3Upload } from './s3-uploads.ts';

/** `~` is in no key of the port: what lies below is the store's own. */
export const RECORDS_PREFIX = '~uploads/';

/** What is uploaded: the same content in the same parts under the same key is the same upload. */
export interface UploadSubject extends ObjectInfo {
  readonly partBytes: number;
}

/**
 * Which running upload belongs to which content. S3 tells of an upload only its key, not the metadata it was begun with: parts of it
 * that happen to agree say nothing about the digest that completing it would publish. So the store writes that down itself.
 */
export interface UploadRecord {
  readonly uploadId: string;
  readonly creator: string;
  /** Random name of the call that was first to say "I completed it"; see `claimCompletion`. */
  readonly completedBy: string | null;
}

const keyOf = ({ key, sha256, partBytes }: UploadSubject): string =>
  `${RECORDS_PREFIX}${sha256Of(`${key}\n${sha256}\n${partBytes}`)}`;

/** The upload that a record names, whether or not it is still running. */
export const uploadOf = (subject: UploadSubject, { uploadId }: UploadRecord): S3Upload => ({
  key: subject.key,
  uploadId,
});

/** Null when there is no record, or none that can be read. */
export async function readRecord(
  bucket: S3Bucket,
  subject: UploadSubject,
): Promise<(UploadRecord & { readonly etag: string }) | null> {
  const opened = await openObject(bucket, keyOf(subject)).catch((error: unknown) => {
    if (isAbsent(error)) return null;
    throw error;
  });
  if (opened === null) return null;
  const pieces: Buffer[] = [];
  await readVerified(bucket, opened, (piece, position) => {
    if (position === 0) pieces.length = 0;
    pieces.push(piece);
  });
  const record = parseRecord(Buffer.concat(pieces).toString());
  return record === null ? null : { ...record, etag: opened.etag };
}

/** False when another process has begun the same upload meanwhile. */
export async function writeRecord(bucket: S3Bucket, subject: UploadSubject, record: UploadRecord): Promise<boolean> {
  const { object, body } = encode(subject, record);
  // Two records always differ, so another process' record is "other content" to the creation.
  return createObject(bucket, object, body).then(
    ({ created }) => created,
    (error: unknown) => {
      if ((error as { code?: unknown }).code === 'ObjectExists') return false;
      throw error;
    },
  );
}

export const removeRecord = (bucket: S3Bucket, subject: UploadSubject): Promise<void> => bucket.delete(keyOf(subject));

/**
 * True for exactly one of the calls that worked on one upload. The answer to the completion itself cannot tell: servers, AWS among
 * them, say "completed" to everybody who asks within some time. The one who replaces the record is the one.
 */
export async function claimCompletion(bucket: S3Bucket, subject: UploadSubject, of: UploadRecord): Promise<boolean> {
  const completedBy = randomBytes(8).toString('hex');
  const found = await readRecord(bucket, subject);
  if (found === null || found.uploadId !== of.uploadId || found.completedBy !== null) return false;
  const { object, body } = encode(subject, { uploadId: of.uploadId, creator: of.creator, completedBy });
  if (await bucket.replace(object, body, found.etag)) return true;
  // Our first try may have done it and its answer got lost.
  return (await readRecord(bucket, subject))?.completedBy === completedBy;
}

function encode(subject: UploadSubject, record: UploadRecord): { object: NewS3Object; body: Buffer } {
  const { key, sha256, bytes, partBytes } = subject;
  const body = Buffer.from(JSON.stringify({ ...record, key, sha256, bytes, partBytes }));
  return {
    object: { key: keyOf(subject), bytes: body.length, sha256: sha256Of(body), creator: newCreator() },
    body,
  };
}

function parseRecord(text: string): UploadRecord | null {
  const { uploadId, creator, completedBy } = JSON.parse(text) as Partial<UploadRecord>;
  if (typeof uploadId !== 'string' || typeof creator !== 'string') return null;
  return { uploadId, creator, completedBy: completedBy ?? null };
}
