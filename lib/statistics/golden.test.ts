import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { logEvidenceAbove, logEvidenceBelow } from './betting.ts';
import { chiSquareHomogeneity } from './chi-square.ts';
import { jensenShannonDistance, wassersteinDistance } from './distances.ts';
import { benjaminiHochberg } from './false-discovery.ts';
import { chiSquareSurvival, logGamma } from './gamma.ts';
import { kolmogorovSurvival } from './kolmogorov.ts';
import { normalQuantile, normalSurvival } from './normal.ts';
import { comparePaired } from './paired-comparison.ts';
import { populationStability } from './population-stability.ts';
import { incompleteBeta, studentTSurvival, studentTUpperQuantile } from './student-t.ts';
import { twoSampleKs } from './two-sample-ks.ts';
import { proportionMoments } from './unit-moments.ts';

type Numbers = Readonly<Record<string, number>>;

/** Written by scripts/golden/statistics.py. */
const golden = JSON.parse(readFileSync(join(import.meta.dirname, 'golden/scipy.json'), 'utf8')) as {
  readonly [name: string]: readonly Numbers[];
} & {
  readonly twoSamples: readonly {
    a: number[];
    b: number[];
    statistic: number;
    auto: number;
    asymp: number;
    wasserstein: number;
  }[];
  readonly counts: readonly (Numbers & { reference: never; window: never })[];
  readonly falseDiscovery: readonly { p: number[]; expected: number[] }[];
  readonly paired: readonly {
    challenger: number[];
    champion: number[];
    mean: number;
    standardError: number;
    lowerBound: number;
  }[];
};

const TOLERANCE = 1e-9;

/** Relative for all that can be told from nothing: a tail of 1e-30 has to have nine right digits too. */
function agrees(actual: number, expected: number, about: unknown, absolute = 1e-290): void {
  const off = Math.abs(actual - expected);
  expect(
    off <= absolute || off <= TOLERANCE * Math.abs(expected),
    `${actual}, scipy ${expected}: ${JSON.stringify(about).slice(0, 200)}`,
  ).toBe(true);
}

const FUNCTIONS: Readonly<Record<string, (row: Numbers) => number>> = {
  logGamma: ({ x = NaN }) => logGamma(x),
  normalSurvival: ({ z = NaN }) => normalSurvival(z),
  normalQuantile: ({ p = NaN }) => normalQuantile(p),
  chiSquareSurvival: ({ x = NaN, df = NaN }) => chiSquareSurvival(x, df),
  studentTSurvival: ({ t = NaN, df = NaN }) => studentTSurvival(t, df),
  studentTUpperQuantile: ({ tail = NaN, df = NaN }) => studentTUpperQuantile(tail, df),
  incompleteBeta: ({ a = NaN, b = NaN, x = NaN }) => incompleteBeta(a, b, x),
};

describe('values equal scipy’s to nine digits', () => {
  it.each(Object.keys(FUNCTIONS))('%s', (name) => {
    const rows = golden[name] ?? [];
    expect(rows.length).toBeGreaterThan(5);
    // logGamma is zero at 1 and 2, the quantile at 1/2: there only the distance counts.
    for (const row of rows) agrees(FUNCTIONS[name]?.(row) ?? NaN, row['expected'] ?? NaN, row, 1e-14);
  });

  it('kolmogorovSurvival, over every formula it chooses from', () => {
    const rows = golden['kolmogorovSurvival'] ?? [];
    expect(rows.length).toBeGreaterThan(100);
    // Above 0.5 it is computed as one minus something: scipy too, so nine digits after the point.
    for (const row of rows)
      agrees(kolmogorovSurvival(row['n'] ?? 0, row['d'] ?? 0), row['expected'] ?? NaN, row, 1e-12);
  });

  it('the two-sample Kolmogorov-Smirnov test and the Wasserstein distance, ties and unequal sizes included', () => {
    expect(golden.twoSamples.length).toBeGreaterThan(20);
    for (const row of golden.twoSamples) {
      const [a, b] = [Float64Array.from(row.a).sort(), Float64Array.from(row.b).sort()];
      agrees(twoSampleKs(a, b).statistic, row.statistic, row);
      agrees(twoSampleKs(a, b).pValue, row.auto, row, 1e-14);
      agrees(twoSampleKs(a, b, 'asymptotic').pValue, row.asymp, row, 1e-13);
      agrees(wassersteinDistance(a, b), row.wasserstein, row, 1e-12);
    }
  });

  it('large samples on both sides of the switch from exact to asymptotic', () => {
    const methods = new Set<string>();
    for (const { n = 0, m = 0, power = 1, ...row } of golden['largeTwoSamples'] ?? []) {
      const a = Float64Array.from({ length: n }, (_, i) => i / n);
      const b = Float64Array.from({ length: m }, (_, j) => ((j + 0.5) / m) ** power);
      const result = twoSampleKs(a, b);
      methods.add(result.method);
      agrees(result.statistic, row['statistic'] ?? NaN, row);
      agrees(result.pValue, row['auto'] ?? NaN, { n, m, power });
      agrees(twoSampleKs(a, b, 'asymptotic').pValue, row['asymp'] ?? NaN, { n, m, power });
      agrees(wassersteinDistance(a, b), row['wasserstein'] ?? NaN, row);
    }
    expect(methods).toEqual(new Set(['exact', 'asymptotic']));
  });

  it('chi-square, Jensen-Shannon and the stability index with its null law', () => {
    expect(golden.counts.length).toBeGreaterThan(10);
    for (const row of golden.counts) {
      const unpooled = chiSquareHomogeneity(row.reference, row.window, 0);
      agrees(unpooled.statistic, row['chiSquare'] ?? NaN, row, 1e-12);
      agrees(unpooled.pValue, row['chiSquareP'] ?? NaN, row);
      expect(unpooled.degreesOfFreedom).toBe(row['df']);
      const enough = (row['smallestExpected'] ?? 0) >= 5;
      expect(chiSquareHomogeneity(row.reference, row.window).pooled === 0).toBe(enough);
      agrees(jensenShannonDistance(row.reference, row.window), row['jensenShannon'] ?? NaN, row, 1e-12);
      const stability = populationStability(row.reference, row.window);
      agrees(stability.index, row['psi'] ?? NaN, row, 1e-14);
      agrees(stability.pValue, row['psiP'] ?? NaN, row);
    }
  });

  it('Benjamini-Hochberg', () => {
    expect(golden.falseDiscovery.length).toBeGreaterThan(3);
    for (const { p, expected } of golden.falseDiscovery)
      for (const [at, adjusted] of benjaminiHochberg(p).entries()) agrees(adjusted, expected[at] ?? NaN, p);
  });

  it('the paired interval', () => {
    expect(golden.paired.length).toBeGreaterThan(2);
    for (const row of golden.paired) {
      const result = comparePaired(row.challenger, row.champion, {
        higherIsBetter: true,
        nonInferiorityMargin: 0,
        confidence: 0.95,
        minimumExamples: 2,
      });
      agrees(result.meanDifference ?? NaN, row.mean, row, 1e-14);
      agrees(result.standardError ?? NaN, row.standardError, row);
      agrees(result.lowerBound ?? NaN, row.lowerBound, row, 1e-12);
    }
  });

  it('evidence of a proportion from counts is the product over its single values', () => {
    expect(golden['betting']?.length).toBeGreaterThan(5);
    for (const { ones = NaN, count = NaN, m = NaN, ...expected } of golden['betting'] ?? []) {
      agrees(logEvidenceAbove(proportionMoments(ones, count), m), expected['above'] ?? NaN, { ones, count, m }, 1e-11);
      agrees(logEvidenceBelow(proportionMoments(ones, count), m), expected['below'] ?? NaN, { ones, count, m }, 1e-11);
    }
  });
});
