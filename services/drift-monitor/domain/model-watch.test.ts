import { describe, expect, it } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { buildReferenceProfile } from '#lib/statistics/build-reference-profile.ts';
import type { ReferencePerformance } from '#lib/statistics/model-reference.ts';
import {
  ModelWatch,
  type StoredAnswer,
  type StoredWatch,
  type TakenObservation,
  type WatchSettings,
} from './model-watch.ts';
import { causesOf, isJudged } from './signal-evidence.ts';

const settings: WatchSettings = {
  windowMs: 1_000,
  latenessMs: 100,
  falseDiscoveryRate: 0.01,
  minimumObservations: 100,
  smallestDistance: 0,
  observationsPerWindow: 1_000,
  performanceMargin: 0.05,
  windowsBetweenFalseDegradations: 1_000,
};
const NONE: ReadonlyMap<string, StoredAnswer> = new Map();
const BUSY = { nowMs: 1e12, caughtUp: false };

const verdict = buildReferenceProfile(
  (function* () {
    const random = mulberry32(1);
    for (let i = 0; i < 4_000; i++) yield { x: random.next(), y: random.next() };
  })(),
  { datasetDigest: 'a'.repeat(64), seed: 1, sampleSize: 4_096, bins: 10, maxCategories: 10 },
);
if (!verdict.ok) throw new Error(verdict.reason);
const { profile } = verdict;
const accuracy: ReferencePerformance = { by: { measure: 'accuracy' }, count: 2_000, sum: 1_900, sumOfSquares: 1_900 };
const reference = { profile, performance: null, revision: 1 };

/** Observations spread over a window; `shift` moves x. */
function windowful(
  start: number,
  count: number,
  shift = 0,
  more: Partial<TakenObservation['observation']> = {},
): TakenObservation[] {
  const random = mulberry32(start + 7);
  return Array.from({ length: count }, (_, n) => {
    const features = { x: random.next() + shift, y: random.next() };
    const observation = {
      observationId: `o${start}-${n}`,
      project: 'demo',
      model: 'm',
      modelVersion: 1,
      observedAtMs: start + Math.floor((n * settings.windowMs) / count),
      featuresJson: JSON.stringify(features),
      prediction: 'yes',
      score: null,
      label: null,
      routingUnit: null,
      ...more,
    };
    return { observation, features };
  });
}

const watchOf = (stored: StoredWatch | null = null, of: ConstructorParameters<typeof ModelWatch>[1] = reference) =>
  new ModelWatch('demo/m/1', of, settings, stored);
const fold = (watch: ModelWatch, batch: TakenObservation[], known = NONE) =>
  watch.take(watch.admit(batch), known, BUSY);

describe('a watched version', () => {
  it('judges a window when it closes, with drift by name', () => {
    const watch = watchOf();
    expect(fold(watch, windowful(0, 300)).judged).toEqual([]);
    const calm = fold(watch, windowful(1_000, 300, 0.3)).judged;
    expect(calm).toMatchObject([{ startMs: 0, endMs: 1_000, taken: 300, judgement: { judged: true, drifted: [] } }]);
    const drifted = fold(watch, windowful(2_000, 300)).judged;
    expect(drifted.map(causesOf)).toEqual([['feature:x']]);
  });

  it('goes on from what is stored as if it had never stopped, wherever it is cut', () => {
    const stream = [windowful(0, 400), windowful(1_000, 400, 0.2), windowful(2_000, 400), windowful(3_000, 10)].flat();
    const whole = watchOf();
    const expected = fold(whole, stream).judged;
    for (const cut of [1, 399, 400, 777, 1_209]) {
      const before = watchOf();
      const first = fold(before, stream.slice(0, cut)).judged;
      const after = watchOf(JSON.parse(JSON.stringify(before.snapshot())) as StoredWatch);
      expect([...first, ...fold(after, stream.slice(cut)).judged]).toEqual(expected);
      expect(after.snapshot()).toEqual(whole.snapshot());
    }
  });

  it('counts duplicates, late and bare labels, and stores each observation and label once', () => {
    const watch = watchOf();
    const [one, two] = windowful(0, 2) as [TakenObservation, TakenObservation];
    const label = { ...one, observation: { ...one.observation, label: 'yes' } };
    const bare = {
      observation: { ...two.observation, observationId: 'gone', prediction: '', featuresJson: '{}', label: 'no' },
      features: {},
    };
    const taking = fold(watch, [one, one, label, two, bare]);
    expect(taking.stored.map(({ observationId }) => observationId)).toEqual(['o0-0', 'o0-1']);
    expect(taking.labels).toEqual([{ observationId: 'o0-0', label: 'yes' }]);
    expect(watch.state.counters).toMatchObject({
      inTime: 2,
      duplicate: 1,
      lateLabel: 1,
      orphanLabel: 1,
      unknownVersion: 0,
    });
  });

  it('without a reference is counted and stored, its windows close unjudged', () => {
    const watch = watchOf(null, null);
    fold(watch, windowful(0, 50));
    const { judged } = fold(watch, windowful(1_100, 5));
    expect(judged).toMatchObject([{ startMs: 0, taken: 50, judgement: null, performance: null }]);
    expect(judged.map(isJudged)).toEqual([false]);
    expect(watch.state.counters.unknownVersion).toBe(55);
  });

  it('begins new windows when its reference comes or changes, and takes nothing for windows long closed', () => {
    const before = watchOf(null, null);
    fold(before, windowful(5_000, 50));
    const after = watchOf(before.snapshot());
    expect(after.state.windows.open).toEqual([]);
    fold(after, windowful(1_000, 5));
    expect(after.state.counters.tooLate).toBe(5);
    fold(after, windowful(5_000, 10));
    expect(after.snapshot().sketches).toHaveProperty('5000');
  });

  it('has a bounded state in a flood, which is thinned and counted', () => {
    const size = (count: number): number => {
      const watch = watchOf();
      fold(watch, windowful(0, count));
      return JSON.stringify(watch.snapshot()).length;
    };
    const [once, more] = [size(2_000), size(40_000)];
    expect(more).toBeLessThan(once * 1.05);
    const watch = watchOf();
    const { stored } = fold(watch, windowful(0, 40_000));
    const { sampledOut, inTime } = watch.state.counters;
    expect(stored.length).toBe(inTime);
    expect(inTime).toBeLessThan(8_000);
    expect(sampledOut + inTime).toBe(40_000);
  });
});

describe('the performance of a watched version', () => {
  const watched = { ...reference, performance: accuracy };

  it('falls to an alarm by labels that come late, whatever their windows', () => {
    const watch = watchOf(null, watched);
    const answers = windowful(0, 600);
    fold(watch, answers);
    const known = new Map(
      answers.map(({ observation }) => [observation.observationId, { prediction: 'yes', label: null }]),
    );
    const labels = answers.map(({ observation }, n) => ({
      observation: { ...observation, label: n % 10 < 6 ? 'yes' : 'no', prediction: '', featuresJson: '{}' },
      features: {},
    }));
    const { labels: stored } = fold(watch, labels, known);
    expect(stored).toHaveLength(600);
    const [window] = fold(watch, windowful(1_500, 1)).judged;
    expect(window?.performance).toMatchObject({ scores: 600, lasting: true, changed: true });
    expect(causesOf(window as never).slice(0, 2)).toEqual(['performance:lasting', 'performance:changed']);
  });

  it('as good as at its evaluation raises nothing', () => {
    const watch = watchOf(null, watched);
    fold(watch, windowful(0, 600, 0, { label: 'yes' }));
    const [window] = fold(watch, windowful(1_500, 1)).judged;
    expect(window?.performance).toMatchObject({ scores: 600, lasting: false, changed: false });
  });

  it('is watched by the score of each answer when the reference says so', () => {
    const by = { measure: 'score', low: 0, high: 10, higherIsBetter: true } as const;
    const watch = watchOf(null, { ...reference, performance: { by, count: 1_000, sum: 800, sumOfSquares: 700 } });
    fold(watch, windowful(0, 600, 0, { score: 3 }));
    const [window] = fold(watch, windowful(1_500, 1)).judged;
    expect(window?.performance).toMatchObject({ scores: 600, changed: true, production: { count: 600 } });
  });
});
