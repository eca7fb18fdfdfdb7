import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ObservationRecorded } from '#lib/contracts/generated/messages.ts';
import type { CanarySettings } from '#lib/contracts/release.ts';
import { areUnitMoments } from '#lib/statistics/unit-moments.ts';
import { addAnswers, type ArmValues, armValues, lookEveryMs, policyOf } from './canary-arms.ts';

const against = { against: 'baseline', higherIsBetter: false, tolerance: 0.02 } as const;
const settings: CanarySettings = {
  weightPercent: 10,
  minimumHours: 1,
  maximumHours: 24,
  minimumSample: 200,
  metrics: [
    { name: 'error_rate', ...against },
    { name: 'slow_rate', ...against },
    { name: 'score', ...against, higherIsBetter: true },
    { name: 'clicked', ...against },
  ],
  latencyLimitMs: 100,
  falseFailRate: 0.01,
  falsePassRate: 0.05,
  onInconclusive: 'approval',
};
const split = { canaryVersion: 2, baselineVersion: 1, startedAtMs: 1_000 };
const seen = (features: unknown, change: Partial<ObservationRecorded> = {}): ObservationRecorded => ({
  observationId: 'o',
  project: 'p',
  model: 'm',
  modelVersion: 2,
  observedAtMs: 2_000,
  featuresJson: typeof features === 'string' ? features : JSON.stringify(features),
  prediction: '',
  score: 0.5,
  label: null,
  routingUnit: null,
  ...change,
});
const valuesOf = (observation: ObservationRecorded) => armValues(split, settings, observation);

describe('an observation', () => {
  it('gives every metric that it holds a value between 0 and 1', () => {
    expect(valuesOf(seen({ failed: 0, latencyMs: 101, clicked: 7 }))).toEqual({
      observationId: 'o',
      unit: null,
      arm: 'canary',
      values: { error_rate: 0, slow_rate: 1, score: 0.5, clicked: 1 },
    });
    expect(valuesOf(seen({ failed: true, latencyMs: 100 }, { modelVersion: 1, score: -3 }))).toMatchObject({
      arm: 'baseline',
      values: { error_rate: 1, slow_rate: 0, score: 0 },
    });
  });

  it.each(['{}', 'null', 'no JSON', '{"failed":"yes","latencyMs":"slow","clicked":null}'])(
    'that measured nothing (%s) makes no value up',
    (features) => {
      expect(valuesOf(seen(features, { score: null }))?.values).toEqual({});
    },
  );

  it('of another version, from before the start, or not dealt by the split is of neither arm', () => {
    expect(valuesOf(seen({}, { modelVersion: 3 }))).toBeNull();
    expect(valuesOf(seen({}, { observedAtMs: 999 }))).toBeNull();
    expect(valuesOf(seen({ arm: 'explicit' }))).toBeNull();
    expect(valuesOf(seen({ arm: 'prod' }, { modelVersion: 1 }))).toBeNull();
    expect(valuesOf(seen({ arm: 'canary' }))?.arm).toBe('canary');
    expect(valuesOf(seen({}, { routingUnit: 'somebody' }))?.unit).toBe('somebody');
  });
});

it('answers add up to moments that values in [0, 1] have, in any grouping', () => {
  const answer: fc.Arbitrary<ArmValues> = fc.record({
    observationId: fc.string(),
    unit: fc.option(fc.string()),
    arm: fc.constantFrom('canary' as const, 'baseline' as const),
    values: fc.dictionary(fc.constantFrom('error_rate', 'score'), fc.double({ min: 0, max: 1, noNaN: true })),
  });
  fc.assert(
    fc.property(fc.array(answer), fc.array(answer), (a, b) => {
      const apart = addAnswers(addAnswers({}, a), b);
      expect(apart).toEqual(addAnswers({}, [...a, ...b]));
      for (const arms of Object.values(apart))
        expect([areUnitMoments(arms.canary), areUnitMoments(arms.baseline)]).toEqual([true, true]);
    }),
  );
});

it('settings become the policy in milliseconds, and looks come every minute at most', () => {
  const policy = policyOf(settings);
  expect(policy).toMatchObject({ minimumDurationMs: 3_600_000, maximumDurationMs: 86_400_000, minimumSample: 200 });
  expect(lookEveryMs(policy)).toBe(60_000);
  expect(lookEveryMs(policyOf({ ...settings, minimumHours: 0, maximumHours: 0.05 }))).toBe(1_800);
  expect(lookEveryMs(policyOf({ ...settings, maximumHours: 0.000_1 }))).toBe(1_000);
});
