import { invariant } from '#lib/kernel/errors.ts';
import { kolmogorovSurvival } from './kolmogorov.ts';

export interface KsResult {
  /** Largest distance of the two distribution functions, in [0, 1]. */
  readonly statistic: number;
  readonly pValue: number;
  readonly method: 'exact' | 'asymptotic';
}

/** Samples above this size get the asymptotic law under `auto`, as in scipy's `ks_2samp`. */
const MAX_EXACT_SIZE = 10_000;
/** scipy's guard of the exact method: the path count works on a lattice of lcm(n, m). */
const MAX_EXACT_LATTICE = 2_147_483_647;

/**
 * Two-sample Kolmogorov-Smirnov test, two-sided. Both samples are **sorted ascending**, not empty, without NaN. Ties are allowed and make the
 * p-value conservative. Exact: Hodges 1958 (Ark. Mat. 3), O(n m d) time, O(min(n, m)) memory. Asymptotic: the one-sample law at
 * round(n m / (n + m)) values. `auto` is exact up to 10,000 values in the larger sample, as scipy's `ks_2samp(method='auto')`.
 */
export function twoSampleKs(
  a: Float64Array,
  b: Float64Array,
  method: 'auto' | 'exact' | 'asymptotic' = 'auto',
): KsResult {
  invariant(a.length > 0 && b.length > 0, 'the Kolmogorov-Smirnov test needs values in both samples');
  const statistic = ksStatistic(a, b);
  const divisor = greatestCommonDivisor(a.length, b.length);
  const lattice = (a.length / divisor) * b.length;
  const exact =
    method === 'exact' ||
    (method === 'auto' && Math.max(a.length, b.length) <= MAX_EXACT_SIZE && lattice / divisor < MAX_EXACT_LATTICE);
  if (exact) return { statistic, pValue: exactPValue(a.length, b.length, divisor, statistic), method: 'exact' };
  return asymptotic(statistic, a.length, b.length);
}

/**
 * The same for a large sample of `size` values of which only `quantiles` are kept, made by `evenQuantiles` of it: the statistic is off by at most
 * 1 / (2 quantiles.length), which must be small beside 1 / sqrt(sample.length). Asymptotic law.
 */
export function ksAgainstQuantiles(quantiles: Float64Array, size: number, sample: Float64Array): KsResult {
  invariant(quantiles.length > 0 && sample.length > 0, 'the Kolmogorov-Smirnov test needs values in both samples');
  invariant(size >= quantiles.length, 'a sample has at least as many values as quantiles of it');
  return asymptotic(ksStatistic(quantiles, sample), size, sample.length);
}

/** `count` values of a **sorted ascending** sample at the middles of `count` equal shares; the sample itself when it has no more. */
export function evenQuantiles(sorted: Float64Array, count: number): Float64Array {
  if (sorted.length <= count) return sorted;
  return Float64Array.from({ length: count }, (_, i) => {
    return sorted[Math.ceil(((i + 0.5) / count) * sorted.length) - 1] as number;
  });
}

function asymptotic(statistic: number, n: number, m: number): KsResult {
  const effective = Math.max(1, roundHalfEven((n * m) / (n + m)));
  return { statistic, pValue: kolmogorovSurvival(effective, statistic), method: 'asymptotic' };
}

/** sup |F_a - F_b| of two sorted samples; O(n + m), no allocation. */
export function ksStatistic(a: Float64Array, b: Float64Array): number {
  const [n, m] = [a.length, b.length];
  let [i, j, largest] = [0, 0, 0];
  while (i < n && j < m) {
    const value = Math.min(a[i] as number, b[j] as number);
    while (i < n && a[i] === value) i++;
    while (j < m && b[j] === value) j++;
    // Whole numbers below 2^53: no rounding until the end.
    largest = Math.max(largest, Math.abs(i * m - j * n));
  }
  return largest / (n * m);
}

function exactPValue(n: number, m: number, divisor: number, statistic: number): number {
  const h = Math.round(statistic * (n / divisor) * m);
  if (h === 0) return 1;
  return Math.min(1, n === m ? equalSizes(n, h) : outsideBand(Math.max(n, m), Math.min(n, m), divisor, h));
}

/** P(D >= h / n) for two samples of n values, closed form by reflection (Drion 1952), as a nested product without cancellation of large terms. */
function equalSizes(n: number, h: number): number {
  let p = 0;
  for (let k = Math.floor(n / h); k >= 0; k--) {
    let term = 1;
    for (let j = 0; j < h; j++) term = ((n - k * h - j) * term) / (n + k * h + j + 1);
    p = term * (1 - p);
  }
  return 2 * p;
}

/**
 * Share of lattice paths from (0, 0) to (m, n), m >= n, that leave |x n - y m| < h g. `outside(x, y)` is the share among the paths to (x, y): the last step
 * came from the left with probability x / (x + y). Only sums of positive terms: tails keep their relative precision.
 */
function outsideBand(m: number, n: number, g: number, h: number): number {
  const [mg, ng] = [m / g, n / g];
  const column = new Float64Array(n + 1).fill(1);
  const lowest = (x: number): number => Math.max(0, Math.floor((ng * x - h) / mg) + 1);
  const highest = (x: number): number => Math.min(n, Math.ceil((ng * x + h) / mg) - 1);
  for (let y = 0; y <= highest(0); y++) column[y] = 0;
  for (let x = 1; x <= m; x++) {
    const [low, high] = [lowest(x), highest(x)];
    if (high < low) return 1;
    if (low > 0) column[low - 1] = 1;
    let below = low > 0 ? 1 : 0;
    for (let y = low; y <= high; y++) {
      below = (x * (column[y] as number) + y * below) / (x + y);
      column[y] = below;
    }
  }
  return column[n] as number;
}

/** numpy's rounding, so that the asymptotic p-value is scipy's at n m / (n + m) = k + 1/2 too. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
