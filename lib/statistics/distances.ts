import { invariant } from '#lib/kernel/errors.ts';

/**
 * Jensen-Shannon distance of two count vectors over the same categories: square root of the divergence in nats, in [0, sqrt(ln 2) = 0.8326]
 * (Endres and Schindelin 2003). Both sums are positive. A size of drift, no test.
 */
export function jensenShannonDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  invariant(a.length === b.length, 'both vectors have the same categories');
  let [sumA, sumB] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    sumA += a[i] as number;
    sumB += b[i] as number;
  }
  invariant(sumA > 0 && sumB > 0, 'the Jensen-Shannon distance needs observations on both sides');
  let divergence = 0;
  for (let i = 0; i < a.length; i++) {
    const [p, q] = [(a[i] as number) / sumA, (b[i] as number) / sumB];
    const middle = (p + q) / 2;
    if (p > 0) divergence += p * Math.log(p / middle);
    if (q > 0) divergence += q * Math.log(q / middle);
  }
  return Math.sqrt(Math.max(0, divergence / 2));
}

/**
 * First Wasserstein distance of two samples, both **sorted ascending** and not empty: area between the two distribution functions, in the unit
 * of the values. O(n + m), no allocation. A size of drift, no test.
 */
export function wassersteinDistance(a: Float64Array, b: Float64Array): number {
  invariant(a.length > 0 && b.length > 0, 'the Wasserstein distance needs values in both samples');
  let [i, j, area] = [0, 0, 0];
  let before = Math.min(a[0] as number, b[0] as number);
  while (i < a.length || j < b.length) {
    const value = Math.min(a[i] ?? Infinity, b[j] ?? Infinity);
    area += Math.abs(i / a.length - j / b.length) * (value - before);
    before = value;
    while (i < a.length && a[i] === value) i++;
    while (j < b.length && b[j] === value) j++;
  }
  return area;
}
