import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { logEvidenceAbove, logEvidenceBelow } from './betting.ts';
import { type DegradationPolicy, NO_PRODUCTION, watchPerformance } from './performance-degradation.ts';
import { exceedsByMargin } from './two-arm-evidence.ts';
import { addMoments, areUnitMoments, mirrored, NO_VALUES, proportionMoments, unitMoments } from './unit-moments.ts';

const UNIT = { low: 0, high: 1 };
const scores = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 50 });

describe('moments', () => {
  it('add up in any order and cut', () => {
    fc.assert(
      fc.property(scores, scores, (a, b) => {
        const [both, sum] = [unitMoments([...b, ...a], UNIT), addMoments(unitMoments(a, UNIT), unitMoments(b, UNIT))];
        expect(sum.count).toBe(both.count);
        expect(sum.sum).toBeCloseTo(both.sum, 9);
        expect(sum.sumOfSquares).toBeCloseTo(both.sumOfSquares, 9);
        expect(areUnitMoments(sum) && areUnitMoments(mirrored(sum))).toBe(true);
      }),
    );
  });

  it('are scaled to the range, and what lies outside counts as its end', () => {
    expect(unitMoments([150, 900, -3], { low: 100, high: 200 })).toEqual({ count: 3, sum: 1.5, sumOfSquares: 1.25 });
  });

  it.each([
    { count: 1, sum: 2, sumOfSquares: 1 },
    { count: 2, sum: -1, sumOfSquares: 1 },
    { count: 2, sum: 1, sumOfSquares: 1.5 },
    { count: 2, sum: 2, sumOfSquares: 0.5 },
    { count: 1.5, sum: 1, sumOfSquares: 1 },
    { count: Number.NaN, sum: 0, sumOfSquares: 0 },
  ])('that no values can have are recognised: %o', (moments) => {
    expect(areUnitMoments(moments)).toBe(false);
  });
});

describe('evidence by betting', () => {
  it('has mean at most one under the hypothesis: exactly, over all outcomes of twelve coins', () => {
    for (const p of [0.1, 0.5, 0.8]) {
      let [above, below] = [0, 0];
      for (let ones = 0; ones <= 12; ones++) {
        let ways = 1;
        for (let i = 0; i < ones; i++) ways = (ways * (12 - i)) / (i + 1);
        const chance = ways * p ** ones * (1 - p) ** (12 - ones);
        above += chance * Math.exp(logEvidenceAbove(proportionMoments(ones, 12), p));
        below += chance * Math.exp(logEvidenceBelow(proportionMoments(ones, 12), p));
      }
      expect(above).toBeCloseTo(1, 9);
      expect(below).toBeCloseTo(1, 9);
    }
  });

  it('from moments never exceeds the capital of the real bets', () => {
    fc.assert(
      fc.property(scores, fc.double({ min: 0.01, max: 0.99, noNaN: true }), (values, m) => {
        const stakes = Array.from({ length: 14 }, (_, k) => 0.9 / 2 ** k);
        const capital = stakes.reduce((sum, stake) => {
          return sum + values.reduce((product, x) => product * (1 + (stake * (x - m)) / m), 1) / stakes.length;
        }, 0);
        expect(logEvidenceAbove(unitMoments(values, UNIT), m)).toBeLessThanOrEqual(Math.log(capital) + 1e-9);
      }),
    );
  });

  it('knows the impossible: a mean of at most nothing when something was seen', () => {
    expect(logEvidenceAbove(proportionMoments(1, 100), 0)).toBeGreaterThan(1_000);
    expect(logEvidenceAbove(proportionMoments(0, 100), 0)).toBe(0);
    expect(logEvidenceBelow(proportionMoments(99, 100), 1)).toBeGreaterThan(1_000);
  });

  it('uses that values vary little: a score of small spread is told apart sooner than a coin of the same mean', () => {
    const narrow = unitMoments(
      Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? 0.54 : 0.56)),
      UNIT,
    );
    expect(logEvidenceAbove(narrow, 0.5)).toBeGreaterThan(logEvidenceAbove(proportionMoments(110, 200), 0.5) + 3);
  });
});

describe('two arms', () => {
  it('prove nothing while one is empty', () => {
    expect(exceedsByMargin(proportionMoments(100, 100), NO_VALUES, 0, 1).proven).toBe(false);
    expect(exceedsByMargin(NO_VALUES, proportionMoments(0, 100), 0, 1).proven).toBe(false);
  });

  it('a proof of a margin proves every smaller one and never its opposite', () => {
    const count = fc.integer({ min: 1, max: 3_000 });
    const arm = fc.tuple(count, fc.double({ min: 0, max: 1, noNaN: true }));
    fc.assert(
      fc.property(arm, arm, fc.double({ min: -0.5, max: 0.5, noNaN: true }), ([n, p], [m, q], margin) => {
        const [treated, control] = [proportionMoments(Math.round(n * p), n), proportionMoments(Math.round(m * q), m)];
        const proven = (by: number): boolean => exceedsByMargin(treated, control, by, 3).proven;
        const opposite = exceedsByMargin(mirrored(treated), mirrored(control), -margin, 3).proven;
        expect(!(proven(margin) && opposite)).toBe(true);
        expect(!proven(margin) || proven(margin - 0.05)).toBe(true);
      }),
    );
  });

  it('the proof holds for every common mean: the bound of a cell is not taken from one point', () => {
    const [treated, control] = [proportionMoments(130, 1_000), proportionMoments(600, 9_000)];
    const { proven } = exceedsByMargin(treated, control, 0.01, 3);
    expect(proven).toBe(true);
    for (let m = 0; m <= 1; m += 0.0005)
      expect(logEvidenceAbove(treated, m + 0.01) + logEvidenceBelow(control, m)).toBeGreaterThanOrEqual(3);
  });
});

describe('the performance of a model over time', () => {
  const policy: DegradationPolicy = {
    reference: proportionMoments(900, 1_000),
    higherIsBetter: true,
    margin: 0.02,
    alpha: 0.05,
    batchesBetweenFalseAlarms: 500,
  };
  const batchOf = (random: () => number, accuracy: number) =>
    proportionMoments(Array.from({ length: 40 }, random).filter((u) => u < accuracy).length, 40);

  it('no alarm in 300 histories of 100 looks each at the tolerated loss: at most the promised share, by a seed', () => {
    const random = mulberry32(5);
    let [lasting, batches, changes] = [0, 0, 0];
    for (let history = 0; history < 300; history++) {
      let state = NO_PRODUCTION;
      let alarmed = false;
      let stopped = false;
      for (let look = 0; look < 100; look++) {
        const step = watchPerformance(
          policy,
          state,
          batchOf(() => random.next(), 0.88),
        );
        state = step.state;
        alarmed ||= step.verdict.lasting;
        if (stopped) continue;
        batches++;
        stopped = step.verdict.changed;
        if (stopped) changes++;
      }
      if (alarmed) lasting++;
    }
    expect(lasting).toBeLessThanOrEqual(300 * 0.05);
    expect(batches / Math.max(1, changes)).toBeGreaterThanOrEqual(500);
  });

  it('a loss after a long good time is seen as a change before it outweighs the good time', () => {
    const random = mulberry32(6);
    let state = NO_PRODUCTION;
    for (let look = 0; look < 300; look++) {
      const step = watchPerformance(
        policy,
        state,
        batchOf(() => random.next(), 0.92),
      );
      state = step.state;
      expect(step.verdict.changed).toBe(false);
    }
    let looks = 0;
    for (let changed = false; !changed && looks < 60; looks++) {
      const step = watchPerformance(
        policy,
        state,
        batchOf(() => random.next(), 0.75),
      );
      state = step.state;
      changed = step.verdict.changed;
      expect(step.verdict.lasting).toBe(false);
    }
    expect(looks).toBeLessThan(30);
  });

  it('goes on from JSON, ignores an empty batch, and mirrors a loss', () => {
    const first = watchPerformance(policy, NO_PRODUCTION, proportionMoments(30, 40)).state;
    const restored = JSON.parse(JSON.stringify(first)) as typeof first;
    const next = proportionMoments(31, 40);
    expect(watchPerformance(policy, restored, next)).toEqual(watchPerformance(policy, first, next));
    expect(watchPerformance(policy, first, NO_VALUES).state).toBe(first);
    const asLoss = { ...policy, higherIsBetter: false, reference: mirrored(policy.reference) };
    expect(watchPerformance(asLoss, NO_PRODUCTION, mirrored(next))).toMatchObject({
      verdict: watchPerformance(policy, NO_PRODUCTION, next).verdict,
    });
  });

  it('scores outside [0, 1] are a bug of the caller', () => {
    expect(() => watchPerformance(policy, NO_PRODUCTION, { count: 1, sum: 3, sumOfSquares: 9 })).toThrow('[0, 1]');
  });
});
