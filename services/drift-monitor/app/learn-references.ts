import { createHash } from 'node:crypto';
import {
  buildReferenceProfile,
  DEFAULT_BINS,
  DEFAULT_MAX_CATEGORIES,
  DEFAULT_SAMPLE,
  type FeatureRow,
} from '#lib/statistics/build-reference-profile.ts';
import type { ReferenceProfile } from '#lib/statistics/reference-profile.ts';
import type { VersionKey } from './ports.ts';

/** Observations that a reference is learnt from: with fewer, its own luck makes false alarms (docs/decisions/0011). */
export const LEARN_FROM = 4_096;

export interface ReferenceSource {
  /** Versions of models with a policy in force, without a reference, with at least so many observations. */
  unwatched(observations: number): Promise<VersionKey[]>;
  /** Features of its oldest observations as JSON, oldest first. */
  oldestFeatures(version: VersionKey, limit: number): Promise<string[]>;
  /** False when there is a reference by now: it stays. */
  store(version: VersionKey, profile: ReferenceProfile, nowMs: number): Promise<boolean>;
}

/**
 * A version that came into production without a reference of its training data, as a retrain makes it, is compared with its own beginning there: its first
 * observations are its reference. One that somebody stores takes its place. Returns the versions that are watched from now on.
 */
export async function learnReferences(source: ReferenceSource, nowMs: number): Promise<VersionKey[]> {
  const learnt: VersionKey[] = [];
  for (const version of await source.unwatched(LEARN_FROM)) {
    const texts = await source.oldestFeatures(version, LEARN_FROM);
    // Older ones may have been deleted meanwhile: they are waited for again.
    if (texts.length < LEARN_FROM) continue;
    const verdict = buildReferenceProfile(
      texts.map((text) => JSON.parse(text) as FeatureRow),
      {
        datasetDigest: createHash('sha256').update(texts.join('\n')).digest('hex'),
        seed: version.version,
        sampleSize: DEFAULT_SAMPLE,
        bins: DEFAULT_BINS,
        maxCategories: DEFAULT_MAX_CATEGORIES,
      },
    );
    if (verdict.ok && (await source.store(version, verdict.profile, nowMs))) learnt.push(version);
  }
  return learnt;
}
