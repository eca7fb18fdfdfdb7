import { TrainyardError } from '#lib/kernel/errors.ts';
import { backOff } from './back-off.ts';
import type { ObjectInfo, PutResult } from './port.ts';
import type { S3Bucket } from './s3-bucket.ts';
import type { NewS3Object, S3Object } from './s3-object.ts';

/** A creator meets a deleter or another creator at most this often before it gives up: about 10 s. */
const CREATE_TRIES = 10;
/** Folders above a key that are looked at in one go; keys are rarely deeper. */
const LOOK_AT_ONCE = 16;

/**
 * The object, when the key holds this very content already; null when there is something to store. `ObjectExists` when the key holds
 * other content, or another object lies above or below it. One round trip: a HEAD for the key and each folder above it, and a LIST.
 */
export async function findKnown(bucket: S3Bucket, wanted: { key: string; sha256: string }): Promise<PutResult | null> {
  const [existing] = await Promise.all([bucket.head(wanted.key), refuseNeighbours(bucket, wanted.key)]);
  return existing === null ? null : { ...sameOrRefused(existing, wanted), created: false };
}

/**
 * Stores a body in one request (OS-1: S3 shows an object when it is complete; OS-2: `If-None-Match: *`). Of several tries of one
 * call the object's `creator` tells which one stored it, also when the answer was lost on the way.
 */
export async function createObject(
  bucket: S3Bucket,
  object: NewS3Object,
  body: Uint8Array,
  signal?: AbortSignal,
): Promise<PutResult> {
  const { key, bytes, sha256 } = object;
  for (let tries = 1; tries <= CREATE_TRIES; tries++) {
    const creation = await bucket.create(object, body, signal);
    if (creation === 'created') return { key, bytes, sha256, created: true };
    if (creation === 'exists') {
      const existing = await bucket.head(key);
      if (existing !== null)
        return { ...sameOrRefused(existing, object), created: existing.creator === object.creator };
      await refuseNeighbours(bucket, key);
    }
    // Deleted since, or another creator is at it.
    await backOff(tries, signal);
  }
  throw new TrainyardError('StoreUnavailable', `object ${key} was created and deleted ${CREATE_TRIES} times meanwhile`);
}

/** The object's description when it has the wanted content; `ObjectExists` otherwise. */
export function sameOrRefused(existing: S3Object, wanted: { key: string; sha256: string }): ObjectInfo {
  if (existing.info?.sha256 === wanted.sha256) return existing.info;
  const other = existing.info === null ? 'an object that another program put there' : 'other content';
  throw new TrainyardError('ObjectExists', `object ${wanted.key} exists with ${other}`, {
    details: { key: wanted.key, sha256: existing.info?.sha256 ?? null, refusedSha256: wanted.sha256 },
  });
}

/**
 * Throws `ObjectExists` when `a` or `a/b` of a key `a/b/c` is an object, or the key itself is the folder of one. AWS would take both:
 * creators of `x` and `x/y` that ask in the same moment can both win there. Servers that store in files refuse by themselves.
 */
export async function refuseNeighbours(bucket: S3Bucket, key: string): Promise<void> {
  const segments = key.split('/');
  const above = segments.slice(1).map((_, at) => segments.slice(0, at + 1).join('/'));
  const [below] = await Promise.all([bucket.list(`${key}/`, { limit: 1 }), refuseAbove(bucket, key, above)]);
  const [first] = below.objects;
  if (first !== undefined) throw neighbour(key, first.key);
}

async function refuseAbove(bucket: S3Bucket, key: string, above: readonly string[]): Promise<void> {
  for (let at = 0; at < above.length; at += LOOK_AT_ONCE) {
    const keys = above.slice(at, at + LOOK_AT_ONCE);
    const found = await Promise.all(keys.map((folder) => bucket.head(folder)));
    const taken = keys.find((_, index) => found[index] !== null);
    if (taken !== undefined) throw neighbour(key, taken);
  }
}

const neighbour = (key: string, other: string): TrainyardError =>
  new TrainyardError('ObjectExists', `object ${key} cannot be made beside object ${other}`, {
    details: { key, other },
  });
