import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { chiSquareHomogeneity } from './chi-square.ts';
import { jensenShannonDistance, wassersteinDistance } from './distances.ts';
import { benjaminiHochberg } from './false-discovery.ts';
import { populationStability } from './population-stability.ts';
import { binOf, quantileEdges } from './quantile-bins.ts';
import { evenQuantiles, ksAgainstQuantiles, ksStatistic, twoSampleKs } from './two-sample-ks.ts';

const sample = fc
  .array(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 40 })
  .map((values) => Float64Array.from(values).sort());
const counts = fc.array(fc.nat(60), { minLength: 2, maxLength: 8 });

describe('the two-sample Kolmogorov-Smirnov test', () => {
  it('is symmetric, between 0 and 1, and certain of nothing when the samples are equal', () => {
    fc.assert(
      fc.property(sample, sample, (a, b) => {
        const result = twoSampleKs(a, b);
        expect(result.pValue).toBeCloseTo(twoSampleKs(b, a).pValue, 12);
        expect(result.statistic >= 0 && result.statistic <= 1 && result.pValue > 0 && result.pValue <= 1).toBe(true);
        expect(twoSampleKs(a, a)).toMatchObject({ statistic: 0, pValue: 1 });
      }),
    );
  });

  it('has as statistic the largest distance of the two distribution functions', () => {
    fc.assert(
      fc.property(sample, sample, (a, b) => {
        const share = (values: Float64Array, at: number): number =>
          values.filter((v) => v <= at).length / values.length;
        const distances = [...a, ...b].map((at) => Math.abs(share(a, at) - share(b, at)));
        expect(ksStatistic(a, b)).toBeCloseTo(Math.max(...distances), 12);
      }),
    );
  });

  it('is exact: its p-value is the share of all ways to split the values that lie as far apart', () => {
    const values = [1, 2, 3, 4, 5, 6, 7];
    const observed = ksStatistic(Float64Array.of(1, 2, 4), Float64Array.of(3, 5, 6, 7));
    let [splits, asFar] = [0, 0];
    for (let mask = 0; mask < 2 ** values.length; mask++) {
      const a = values.filter((_, at) => (mask >> at) & 1);
      if (a.length !== 3) continue;
      const b = values.filter((_, at) => !((mask >> at) & 1));
      splits++;
      if (ksStatistic(Float64Array.from(a), Float64Array.from(b)) >= observed - 1e-12) asFar++;
    }
    expect(splits).toBe(35);
    expect(twoSampleKs(Float64Array.of(1, 2, 4), Float64Array.of(3, 5, 6, 7)).pValue).toBeCloseTo(asFar / splits, 12);
  });

  it('against quantiles of a large sample is about the test against all of it', () => {
    const random = mulberry32(3);
    const large = Float64Array.from({ length: 20_000 }, () => random.next()).sort();
    const window = Float64Array.from({ length: 500 }, () => random.next() ** 1.1).sort();
    const quantiles = evenQuantiles(large, 2_000);
    expect(quantiles).toHaveLength(2_000);
    const [whole, kept] = [twoSampleKs(large, window), ksAgainstQuantiles(quantiles, large.length, window)];
    expect(Math.abs(whole.statistic - kept.statistic)).toBeLessThanOrEqual(1 / 4_000 + 1e-12);
    expect(kept.pValue / whole.pValue).toBeGreaterThan(0.9);
    expect(kept.pValue / whole.pValue).toBeLessThan(1.1);
    expect(evenQuantiles(window, 500)).toBe(window);
  });

  it('needs values in both samples', () => {
    expect(() => twoSampleKs(new Float64Array(0), Float64Array.of(1))).toThrow('values in both samples');
  });
});

describe('count vectors', () => {
  it('chi-square pools rare categories until five are expected in every cell', () => {
    // Of 40 in the window against 400: a category needs 55 in all for 5 in the smaller row.
    const result = chiSquareHomogeneity([200, 180, 12, 5, 3, 0], [20, 18, 1, 1, 0, 0]);
    expect(result).toMatchObject({ pooled: 5, degreesOfFreedom: 1 });
    expect(chiSquareHomogeneity([3, 2], [1, 1])).toMatchObject({ degreesOfFreedom: 0, pValue: 1 });
  });

  it('chi-square is symmetric in its rows and ignores what is empty in both', () => {
    fc.assert(
      fc.property(counts, counts, (a, b) => {
        const [reference, window] = [
          a.slice(0, Math.min(a.length, b.length)),
          b.slice(0, Math.min(a.length, b.length)),
        ];
        fc.pre(reference.some((n) => n > 0) && window.some((n) => n > 0));
        const p = chiSquareHomogeneity(reference, window).pValue;
        expect(chiSquareHomogeneity(window, reference).pValue).toBeCloseTo(p, 9);
        expect(chiSquareHomogeneity([...reference, 0], [...window, 0]).pValue).toBeCloseTo(p, 9);
      }),
    );
  });

  it('distances are zero for equal shares and largest for shares that never meet', () => {
    expect(jensenShannonDistance([1, 2], [10, 20])).toBe(0);
    expect(jensenShannonDistance([5, 0], [0, 1])).toBeCloseTo(Math.sqrt(Math.LN2), 12);
    expect(populationStability([100, 100], [50, 50]).index).toBeCloseTo(0, 4);
    expect(wassersteinDistance(Float64Array.of(0, 1), Float64Array.of(3, 4))).toBe(3);
  });

  it('the stability index of an empty bin is finite', () => {
    expect(Number.isFinite(populationStability([100, 0, 100], [90, 5, 0]).index)).toBe(true);
  });
});

describe('quantile bins', () => {
  it('hold every value of the sample in about equal numbers, and the edges ascend', () => {
    fc.assert(
      fc.property(sample, fc.integer({ min: 1, max: 12 }), (sorted, bins) => {
        const edges = quantileEdges(sorted, bins);
        expect(edges.length).toBeLessThan(bins);
        expect([...edges].every((edge, at) => at === 0 || edge > (edges[at - 1] ?? 0))).toBe(true);
        // A value falls into the first bin whose upper edge it does not exceed.
        for (const value of sorted) expect(binOf(edges, value)).toBe([...edges].filter((edge) => edge < value).length);
        const filled = new Set([...sorted].map((value) => binOf(edges, value)));
        expect(filled.size).toBe(edges.length + 1);
      }),
    );
  });

  it('of different values are equal', () => {
    const sorted = Float64Array.from({ length: 1_000 }, (_, i) => i);
    const edges = quantileEdges(sorted, 10);
    const filled = Array.from({ length: 10 }, (_, bin) => sorted.filter((value) => binOf(edges, value) === bin).length);
    expect(filled).toEqual(Array.from({ length: 10 }, () => 100));
  });

  it('of a constant are one bin', () => {
    expect(quantileEdges(Float64Array.of(2, 2, 2), 10)).toHaveLength(0);
  });
});

it('adjusted p-values keep the order, never fall below the p-value, and reject what the procedure rejects', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }), (p) => {
      const adjusted = benjaminiHochberg(p);
      const sorted = p.toSorted((a, b) => a - b);
      for (const q of [0.01, 0.2]) {
        // The procedure as it is stated: the largest k with p(k) <= k q / n.
        const k = sorted.findLastIndex((value, at) => value * p.length <= (at + 1) * q) + 1;
        expect(adjusted.filter((value) => value <= q)).toHaveLength(k);
      }
      expect(adjusted.every((value, at) => value >= (p[at] ?? 2) - 1e-12 && value <= 1)).toBe(true);
    }),
  );
});

it('without drift each test alarms in one of a hundred windows, by a seed', () => {
  const seed = 11;
  const random = mulberry32(seed);
  const draw = (size: number): Float64Array => Float64Array.from({ length: size }, () => random.next()).sort();
  const alarms = { ks: 0, chiSquare: 0, stability: 0 };
  const windows = 2_000;
  for (let i = 0; i < windows; i++) {
    const [reference, window] = [draw(811), draw(307)];
    if (twoSampleKs(reference, window).pValue <= 0.01) alarms.ks++;
    const edges = Float64Array.of(0.05, 0.25, 0.3, 0.55, 0.7, 0.9);
    const inBins = (values: Float64Array): number[] => {
      const filled = [0, 0, 0, 0, 0, 0, 0];
      for (const value of values) filled[binOf(edges, value)] = (filled[binOf(edges, value)] ?? 0) + 1;
      return filled;
    };
    if (chiSquareHomogeneity(inBins(reference), inBins(window)).pValue <= 0.01) alarms.chiSquare++;
    if (populationStability(inBins(reference), inBins(window)).pValue <= 0.01) alarms.stability++;
  }
  // 20 are expected; 4 standard deviations of a binomial to each side.
  for (const [test, count] of Object.entries(alarms)) {
    expect(count, `${test}, seed ${seed}`).toBeGreaterThan(2);
    expect(count, `${test}, seed ${seed}`).toBeLessThan(38);
  }
});
