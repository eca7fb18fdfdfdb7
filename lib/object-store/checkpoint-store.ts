import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { invariant, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { onWorkspace } from './durable-files.ts';
import { PART_BYTES } from './limits.ts';
import { type Manifest, MANIFEST_NAME, readManifest, uploadFolder, type UploadedFolder } from './manifest.ts';
import type { ObjectStore } from './port.ts';

/** The activity whose attempts (epochs) write the checkpoints. */
export interface CheckpointOwner {
  readonly jobId: string;
  readonly activity: string;
}

export interface CheckpointPlace {
  readonly epoch: number;
  /** Optimiser steps done, 0 to 99,999,999. */
  readonly step: number;
}

export interface StoredCheckpoint extends CheckpointPlace {
  readonly manifestKey: string;
  readonly manifest: Manifest;
}

/** A checkpoint that cannot be used and why; `code` is the catalogue's, `ObjectNotFound` for a manifest that was never written. */
export interface InvalidCheckpoint extends CheckpointPlace {
  readonly manifestKey: string;
  readonly code: string;
  readonly reason: string;
}

/** Eight digits, so that keys sort by step. */
const MAX_STEP = 99_999_999;

const ownerPrefix = ({ jobId, activity }: CheckpointOwner): string => `checkpoints/${jobId}/${activity}`;

/** Where the files of a checkpoint lie: `checkpoints/<jobId>/<activity>/e<epoch>/step-<8 digits>`. */
export function checkpointPrefix(owner: CheckpointOwner, { epoch, step }: CheckpointPlace): string {
  invariant(Number.isSafeInteger(epoch) && epoch >= 0, `checkpoint epoch ${epoch}`);
  invariant(Number.isSafeInteger(step) && step >= 0 && step <= MAX_STEP, `checkpoint step ${step}`);
  return `${ownerPrefix(owner)}/e${epoch}/step-${String(step).padStart(8, '0')}`;
}

/** Stores a checkpoint folder, manifest last; idempotent. Until the manifest is there, the checkpoint does not exist. */
export async function saveCheckpoint(
  store: ObjectStore,
  checkpoint: CheckpointOwner & CheckpointPlace & { readonly folder: string; readonly signal?: AbortSignal },
): Promise<UploadedFolder> {
  const { jobId, activity, epoch, folder, signal } = checkpoint;
  return uploadFolder(store, folder, checkpointPrefix(checkpoint, checkpoint), {
    createdBy: { jobId, activity, epoch },
    ...(signal === undefined ? {} : { signal }),
  });
}

/**
 * The newest checkpoint of an activity whose manifest parses and whose files all verify: highest step first, of equal steps the
 * higher epoch, over all epochs. Every newer one that is damaged or incomplete is told to `onInvalid` with the reason. Null when
 * none is valid. A store that cannot serve is thrown: it says nothing about the checkpoint.
 */
export async function findNewestValidCheckpoint(
  store: ObjectStore,
  owner: CheckpointOwner,
  onInvalid: (checkpoint: InvalidCheckpoint) => void = () => undefined,
): Promise<StoredCheckpoint | null> {
  for (const place of await placesOf(store, owner)) {
    const manifestKey = `${checkpointPrefix(owner, place)}/${MANIFEST_NAME}`;
    try {
      const manifest = await readManifest(store, manifestKey);
      verifyAuthor(manifest, owner, place);
      for (const { key, sha256, bytes } of manifest.files) await verifyObject(store, { key, sha256, bytes });
      return { epoch: place.epoch, step: place.step, manifestKey, manifest };
    } catch (error) {
      const code = damageCode(error);
      if (code === null) throw error;
      const reason = code === 'ObjectNotFound' && !place.hasManifest ? 'its manifest is missing' : messageOf(error);
      onInvalid({ epoch: place.epoch, step: place.step, manifestKey, code, reason });
    }
  }
  return null;
}

/**
 * Removes the checkpoints that are not needed to resume: keeps the newest `keepLast` (default 2, so that one can be damaged) and the
 * best: of all that are complete the one with the lowest `lossAt` its step, the newer one of two that are equal; a step without a
 * loss (null) is never the best. An incomplete one is left alone while it is newer than the oldest kept: it may be on its way.
 * Answers what was removed.
 */
export async function pruneCheckpoints(
  store: ObjectStore,
  owner: CheckpointOwner,
  options: { readonly keepLast?: number; readonly lossAt?: (step: number) => number | null } = {},
): Promise<CheckpointPlace[]> {
  const { keepLast = 2, lossAt = () => null } = options;
  const places = await placesOf(store, owner);
  const best = bestOf(places, lossAt);
  const removed: CheckpointPlace[] = [];
  let complete = 0;
  for (const place of places) {
    const { epoch, step, hasManifest } = place;
    const kept = complete < keepLast || place === best;
    if (hasManifest) complete++;
    if (kept) continue;
    const prefix = checkpointPrefix(owner, { epoch, step });
    // The manifest goes first: what a crash leaves is an incomplete checkpoint, not a damaged one.
    await store.delete(`${prefix}/${MANIFEST_NAME}`);
    for await (const { key } of store.list(`${prefix}/`)) await store.delete(key);
    removed.push({ epoch, step });
  }
  return removed;
}

/** `places` are newest first. */
function bestOf<P extends CheckpointPlace & { readonly hasManifest: boolean }>(
  places: readonly P[],
  lossAt: (step: number) => number | null,
): P | null {
  let best: P | null = null;
  let lowest = Number.POSITIVE_INFINITY;
  for (const place of places) {
    const loss = place.hasManifest ? lossAt(place.step) : null;
    if (loss === null || loss >= lowest) continue;
    best = place;
    lowest = loss;
  }
  return best;
}

const PLACE = /^e(0|[1-9]\d{0,14})\/step-(\d{8})\/(.+)$/;

/** Every checkpoint that has at least one object, newest first. */
async function placesOf(
  store: ObjectStore,
  owner: CheckpointOwner,
): Promise<(CheckpointPlace & { hasManifest: boolean })[]> {
  const prefix = `${ownerPrefix(owner)}/`;
  const places = new Map<string, CheckpointPlace & { hasManifest: boolean }>();
  for await (const { key } of store.list(prefix)) {
    const match = PLACE.exec(key.slice(prefix.length));
    if (match === null) continue;
    const id = `${match[1]}/${match[2]}`;
    const place = places.get(id) ?? { epoch: Number(match[1]), step: Number(match[2]), hasManifest: false };
    places.set(id, { ...place, hasManifest: place.hasManifest || match[3] === MANIFEST_NAME });
  }
  return [...places.values()].sort((a, b) => b.step - a.step || b.epoch - a.epoch);
}

/** The code when the error says that the stored checkpoint is damaged; null when it says something about the store. */
function damageCode(error: unknown): string | null {
  if (!(error instanceof TrainyardError)) return null;
  return ['ObjectNotFound', 'ChecksumMismatch', 'ManifestInvalid'].includes(error.code) ? error.code : null;
}

function verifyAuthor({ createdBy }: Manifest, owner: CheckpointOwner, place: CheckpointPlace): void {
  if (createdBy.jobId === owner.jobId && createdBy.activity === owner.activity && createdBy.epoch === place.epoch)
    return;
  throw new TrainyardError('ManifestInvalid', 'the manifest is of another attempt', { details: { createdBy } });
}

/** Reads the whole object. The port has no way to verify without delivering, so a large one goes through a temporary file. */
async function verifyObject(
  store: ObjectStore,
  { key, sha256, bytes }: { key: string; sha256: string; bytes: number },
): Promise<void> {
  const info = await store.head(key);
  if (info === null) throw new TrainyardError('ObjectNotFound', `object ${key} does not exist`);
  if (info.sha256 !== sha256 || info.bytes !== bytes)
    throw new TrainyardError('ChecksumMismatch', `object ${key} is not the one of the manifest`);
  if (bytes <= PART_BYTES) {
    await store.get(key);
    return;
  }
  const folder = await onWorkspace('making a temporary folder', () => mkdtemp(join(tmpdir(), 'trainyard-verify-')));
  try {
    await store.getToFile(key, join(folder, 'object'), { sha256 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
