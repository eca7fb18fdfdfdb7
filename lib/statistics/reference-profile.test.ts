import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { buildReferenceProfile, type FeatureRow, type ProfileOptions } from './build-reference-profile.ts';
import { MAX_FEATURES, MAX_QUANTILES, profileProblem, ReferenceProfile } from './reference-profile.ts';

const options: ProfileOptions = {
  datasetDigest: 'a'.repeat(64),
  seed: 1,
  sampleSize: 1_000,
  bins: 4,
  maxCategories: 2,
};

function profileOf(rows: Iterable<FeatureRow>, change: Partial<ProfileOptions> = {}): ReferenceProfile {
  const verdict = buildReferenceProfile(rows, { ...options, ...change });
  if (!verdict.ok) throw new Error(verdict.reason);
  return verdict.profile;
}

const rows = Array.from({ length: 400 }, (_, i) => ({
  length: i % 100,
  language: ['en', 'en', 'de', 'fr'][i % 4],
  formal: i % 2 === 0,
  rare: i < 10 ? i : null,
}));

describe('a reference profile', () => {
  it('says of each feature what training saw, by name', () => {
    const profile = profileOf(rows);
    expect(Value.Check(ReferenceProfile, profile)).toBe(true);
    expect(profileProblem(profile)).toBeNull();
    expect(profile.features.map(({ name, kind }) => `${name} ${kind}`)).toEqual([
      'formal categorical',
      'language categorical',
      'length numeric',
      'rare numeric',
    ]);
    expect(profile.features[1]).toEqual({
      kind: 'categorical',
      name: 'language',
      present: 400,
      missing: 0,
      categories: ['en', 'de'],
      counts: [200, 100],
      other: 100,
    });
    expect(profile.features[2]).toMatchObject({
      minimum: 0,
      maximum: 99,
      mean: 49.5,
      edges: [24, 49, 74],
      sampled: 400,
    });
    expect(profile.features[2]).toMatchObject({ binCounts: [100, 100, 100, 100] });
    expect(profile.features[3]).toMatchObject({ present: 10, missing: 390, sampled: 10 });
  });

  it('survives JSON, and the same rows and seed give the same one', () => {
    const profile = profileOf(rows, { sampleSize: 50 });
    expect(JSON.parse(JSON.stringify(profile))).toEqual(profile);
    expect(profileOf(rows, { sampleSize: 50 })).toEqual(profile);
    expect(profileOf(rows, { sampleSize: 50, seed: 2 })).not.toEqual(profile);
  });

  it('does not grow with the dataset, and its sample is drawn from all of it', () => {
    const many = function* (): Generator<FeatureRow> {
      for (let i = 0; i < 60_000; i++) yield { value: i, id: `user-${i}`, sparse: i % 2 === 0 ? i : undefined };
    };
    const profile = profileOf(many(), { sampleSize: 6_000 });
    const [id, sparse, value] = profile.features;
    expect(id).toMatchObject({ categories: ['user-0', 'user-1'], other: 59_998 });
    if (value?.kind !== 'numeric' || sparse?.kind !== 'numeric') throw new Error('two numeric features');
    expect(value).toMatchObject({ sampled: 6_000, present: 60_000 });
    expect(value.quantiles).toHaveLength(MAX_QUANTILES);
    // The middle of a uniform sample of 6,000: four standard deviations are 2.6 %.
    expect(Math.abs((value.quantiles[MAX_QUANTILES / 2] ?? 0) / 60_000 - 0.5)).toBeLessThan(0.03);
    // A row without a value leaves no value of an older row behind in its place.
    expect(Math.abs(sparse.sampled - 3_000)).toBeLessThan(4 * Math.sqrt(1_500));
    expect(sparse).toMatchObject({ present: 30_000, missing: 30_000 });
  });

  it('leaves out what no test can watch, and says why', () => {
    const odd = [
      { mixed: 1, nested: { a: 1 }, '': 3, fine: 1 },
      { mixed: 'one', nested: [1], '': 4, fine: 2 },
    ];
    const profile = profileOf(odd);
    expect(profile.features.map(({ name }) => name)).toEqual(['fine']);
    expect(profile.ignored.map(({ name }) => name)).toEqual(['', 'mixed', 'nested']);
  });

  it.each([
    ['no rows', [], {}],
    ['sampleSize', rows, { sampleSize: 0 }],
    ['sampleSize', rows, { sampleSize: 1e9 }],
    [
      `more than ${MAX_FEATURES} features`,
      [Object.fromEntries(Array.from({ length: MAX_FEATURES + 1 }, (_, i) => [`f${i}`, 1]))],
      {},
    ],
  ])('is refused with a reason: %s', (reason, input, change) => {
    expect(buildReferenceProfile(input, { ...options, ...change })).toEqual({
      ok: false,
      reason: expect.stringContaining(reason),
    });
  });

  it('that was damaged is recognised', () => {
    const random = mulberry32(1);
    const profile = profileOf(Array.from({ length: 20 }, () => ({ a: random.next(), b: 'x' })));
    const damaged = (change: (features: { [key: string]: unknown }[]) => void): string | null => {
      const copy = structuredClone(profile);
      change(copy.features);
      return profileProblem(copy);
    };
    expect(damaged(([a]) => Object.assign(a ?? {}, { name: 'z' }))).toContain('out of order');
    expect(damaged(([a]) => Object.assign(a ?? {}, { binCounts: [1] }))).toContain('one count per bin');
    expect(damaged(([a]) => Object.assign(a ?? {}, { quantiles: [2, 1] }))).toContain('not ascending');
    expect(damaged(([, b]) => Object.assign(b ?? {}, { counts: [] }))).toContain('one count per category');
  });
});
