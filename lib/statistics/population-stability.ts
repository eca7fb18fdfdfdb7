import { invariant } from '#lib/kernel/errors.ts';
import { chiSquareSurvival } from './gamma.ts';

export interface StabilityResult {
  /** Population stability index, >= 0, in nats. */
  readonly index: number;
  /** From the null law; 1 with fewer than two bins. */
  readonly pValue: number;
}

/** Added to every count so that an empty bin is not infinitely surprising (Jeffreys' prior). */
const SMOOTHING = 0.5;

/**
 * Population stability index, sum of (p - q) ln(p / q) over bins, with its null law: without drift it is about (1/n + 1/m) chi-square(B - 1)
 * (Yurdakul 2018, "Statistical properties of population stability index", section 3). A fixed threshold such as 0.1 or 0.25 is no test: its error rate
 * depends on n. Counts over the same B bins, sums n, m > 0. The law needs some 5 expected observations per bin; with fewer it alarms too rarely.
 */
export function populationStability(reference: ArrayLike<number>, window: ArrayLike<number>): StabilityResult {
  invariant(reference.length === window.length && reference.length > 0, 'both rows have the same bins');
  const bins = reference.length;
  let [n, m] = [0, 0];
  for (let i = 0; i < bins; i++) {
    n += reference[i] as number;
    m += window[i] as number;
  }
  invariant(n > 0 && m > 0, 'the stability index needs observations in both rows');
  let index = 0;
  for (let i = 0; i < bins; i++) {
    const p = ((reference[i] as number) + SMOOTHING) / (n + SMOOTHING * bins);
    const q = ((window[i] as number) + SMOOTHING) / (m + SMOOTHING * bins);
    index += (p - q) * Math.log(p / q);
  }
  return { index, pValue: bins < 2 ? 1 : chiSquareSurvival(index / (1 / n + 1 / m), bins - 1) };
}
