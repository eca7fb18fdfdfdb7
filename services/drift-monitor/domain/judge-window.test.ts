import { describe, expect, it } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { buildReferenceProfile, type FeatureRow } from '#lib/statistics/build-reference-profile.ts';
import { type JudgePolicy, judgeWindow } from './judge-window.ts';
import type { ReferenceProfile } from '#lib/statistics/reference-profile.ts';
import { WINDOW_SAMPLE, type WindowSnapshot, WindowSketch } from './window-sketch.ts';

const policy: JudgePolicy = { falseDiscoveryRate: 0.01, minimumObservations: 100, smallestDistance: 0 };

/** Ten numeric and two categorical features; `change` makes production differ from training. */
function row(random: () => number, change: (row: Record<string, unknown>) => void = () => undefined): FeatureRow {
  const made: Record<string, unknown> = { language: random() < 0.7 ? 'en' : 'de', spoken: random() < 0.1 };
  for (let i = 0; i < 10; i++) made[`n${i}`] = random() + random();
  change(made);
  return made;
}

function trained(seed: number, rows = 5_000): ReferenceProfile {
  const random = mulberry32(seed);
  const verdict = buildReferenceProfile(
    Array.from({ length: rows }, () => row(() => random.next())),
    { datasetDigest: 'b'.repeat(64), seed, sampleSize: 32_768, bins: 10, maxCategories: 20 },
  );
  if (!verdict.ok) throw new Error(verdict.reason);
  return verdict.profile;
}

const profile = trained(1);

function windowOf(seed: number, count: number, change?: (row: Record<string, unknown>) => void): WindowSketch {
  const random = mulberry32(seed);
  const sketch = new WindowSketch(profile, seed);
  for (let i = 0; i < count; i++) sketch.observe(row(() => random.next(), change));
  return sketch;
}

describe('a window against its profile', () => {
  it('like training does not drift', () => {
    const judgement = judgeWindow(windowOf(5, 2_000), policy);
    expect(judgement).toMatchObject({ judged: true, observations: 2_000, malformed: 0, drifted: [] });
    expect(judgement.features).toHaveLength(12);
    expect(judgement.features.every(({ pValue }) => pValue !== null)).toBe(true);
  });

  it.each([
    ['a number that moved', 'n3', (made: Record<string, unknown>) => (made['n3'] = Number(made['n3']) + 0.15)],
    [
      'a number that spread',
      'n3',
      (made: Record<string, unknown>) => (made['n3'] = (Number(made['n3']) - 1) * 1.6 + 1),
    ],
    [
      'a new category',
      'language',
      (made: Record<string, unknown>) => (made['language'] = made['language'] === 'de' ? 'pt' : 'en'),
    ],
    [
      'values that stop coming',
      'n3',
      (made: Record<string, unknown>) => (made['n3'] = Number(made['n0']) < 0.6 ? null : made['n3']),
    ],
    ['all values gone', 'n3', (made: Record<string, unknown>) => (made['n3'] = undefined)],
    ['another kind of value', 'language', (made: Record<string, unknown>) => (made['language'] = 7)],
  ])('finds %s, and names no other feature', (_, feature, change) => {
    const judgement = judgeWindow(
      windowOf(6, 2_000, (made) => void change(made)),
      policy,
    );
    expect(judgement.drifted).toEqual([feature]);
    expect(judgement.features[0]).toMatchObject({ feature, drifted: true });
  });

  it('with too few observations is not judged, however far it lies', () => {
    const judgement = judgeWindow(
      windowOf(7, 99, (made) => (made['n3'] = 99)),
      policy,
    );
    expect(judgement).toMatchObject({ judged: false, drifted: [] });
  });

  it('drift that is certain but smaller than the smallest distance is no alarm', () => {
    const sketch = windowOf(6, 2_000, (made) => (made['n3'] = Number(made['n3']) + 0.15));
    const found = judgeWindow(sketch, policy).features[0];
    const larger = { ...policy, smallestDistance: (found?.jensenShannon ?? 0) + 0.01 };
    expect(judgeWindow(sketch, larger).drifted).toEqual([]);
    expect(judgeWindow(sketch, larger).features[0]).toMatchObject({
      feature: 'n3',
      adjustedPValue: found?.adjustedPValue,
    });
  });

  it('values of another kind are counted as malformed and as missing', () => {
    const judgement = judgeWindow(
      windowOf(8, 500, (made) => (made['n1'] = 'many')),
      policy,
    );
    expect(judgement.malformed).toBe(500);
    expect(judgement.features.find(({ feature }) => feature === 'n1')).toMatchObject({ present: 0, missing: 500 });
  });

  it('alarms in about one of a hundred windows without drift, with all features together, by a seed', () => {
    const random = mulberry32(21);
    let alarms = 0;
    const windows = 600;
    for (let at = 0; at < windows; at++) {
      const sketch = new WindowSketch(profile, at);
      for (let i = 0; i < 200; i++) sketch.observe(row(() => random.next()));
      if (judgeWindow(sketch, policy).drifted.length > 0) alarms++;
    }
    // 6 are expected; 18 is five standard deviations more.
    expect(alarms).toBeGreaterThan(0);
    expect(alarms).toBeLessThan(18);
  });
});

describe('the sketch of a window', () => {
  it('goes on from its snapshot as if it had never stopped', () => {
    const random = mulberry32(9);
    const rows = Array.from({ length: 3_000 }, (_, i) =>
      row(
        () => random.next(),
        (made) => (made['n2'] = i % 5 === 0 ? null : made['n2']),
      ),
    );
    const whole = new WindowSketch(profile, 4);
    for (const each of rows) whole.observe(each);
    for (const cut of [0, 100, WINDOW_SAMPLE, 1_700]) {
      const before = new WindowSketch(profile, 4);
      for (const each of rows.slice(0, cut)) before.observe(each);
      const stored = JSON.parse(JSON.stringify(before.snapshot())) as WindowSnapshot;
      const after = WindowSketch.restore(profile, stored);
      for (const each of rows.slice(cut)) after.observe(each);
      expect(after.snapshot()).toEqual(whole.snapshot());
      expect(judgeWindow(after, policy)).toEqual(judgeWindow(whole, policy));
    }
  });

  it('has the same size after any number of observations', () => {
    const size = (count: number): number =>
      windowOf(10, count)
        .snapshot()
        .features.reduce((sum, f) => sum + f.sample.length + f.counts.length, 0);
    expect(size(20_000)).toBe(size(WINDOW_SAMPLE));
  });

  it('keeps every observation with the same chance', () => {
    // The n-th observation has value n: the mean of the sample is the middle, early and late ones alike.
    let [sum, kept] = [0, 0];
    for (let seed = 0; seed < 20; seed++) {
      let n = 0;
      const sketch = windowOf(seed, 4_000, (made) => (made['n0'] = n++));
      const sample = sketch.numeric.find(({ reference }) => reference.name === 'n0')?.sample ?? [];
      for (const value of sample) [sum, kept] = [sum + value, kept + 1];
    }
    expect(kept).toBe(20 * WINDOW_SAMPLE);
    // Standard error of the mean of 10,240 numbers up to 4,000 is 11.4.
    expect(Math.abs(sum / kept - 1_999.5)).toBeLessThan(46);
  });

  it('of another profile is refused', () => {
    const { features, ...rest } = windowOf(1, 10).snapshot();
    const other = { ...rest, features: features.map((feature) => ({ ...feature, counts: [1] })) };
    expect(() => WindowSketch.restore(profile, other)).toThrow('another profile');
  });
});
