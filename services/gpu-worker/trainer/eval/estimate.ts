import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { invariant } from '#lib/kernel/errors.ts';
import { perplexity } from '../programs/score-windows.ts';

/**
 * A statistic over independent items with the influence of each item: how much the value would move with that item's weight,
 * centred on zero. Standard errors and paired differences both follow from influences (linearisation, or the infinitesimal
 * jackknife; Efron 1982, chapter 6).
 */
export interface Estimate {
  readonly value: number;
  readonly influences: Float64Array;
}

/** `sum of numerators / sum of denominators`, as nats per token over windows of unequal length. */
export function ratio(numerators: readonly number[], denominators: readonly number[]): Estimate {
  invariant(numerators.length === denominators.length, 'one denominator per numerator');
  const total = denominators.reduce((sum, value) => sum + value, 0);
  const value = numerators.reduce((sum, item) => sum + item, 0) / total;
  return {
    value,
    influences: Float64Array.from(numerators, (item, index) => (item - value * (denominators[index] ?? 0)) / total),
  };
}

/** The mean of one number per item. */
export const mean = (items: readonly number[]): Estimate =>
  ratio(
    items,
    items.map(() => 1),
  );

/** The perplexity of an estimated loss, by the delta method. */
export function perplexityOf(loss: Estimate): Estimate {
  const value = perplexity(loss.value);
  return { value, influences: loss.influences.map((influence) => influence * value) };
}

/** Standard error; null with fewer than two items, or when it is beyond a number. */
export function standardError(influences: Float64Array): number | null {
  const count = influences.length;
  if (count < 2) return null;
  const squares = influences.reduce((sum, influence) => sum + influence * influence, 0);
  const error = Math.sqrt((count / (count - 1)) * squares);
  return Number.isFinite(error) ? error : null;
}

/** An estimate as it appears in a report. */
export interface NamedEstimate {
  readonly name: string;
  readonly higherIsBetter: boolean;
  readonly estimate: Estimate;
}

/**
 * A metric of the report. With a baseline over the same items the difference is paired: its standard error comes from the
 * differences of the influences, which is far smaller than from two independent samples.
 */
export function metricOf({ name, higherIsBetter, estimate }: NamedEstimate, baseline?: Estimate): EvaluationMetric {
  const own = {
    name,
    value: estimate.value,
    standardError: standardError(estimate.influences),
    higherIsBetter,
    count: estimate.influences.length,
  };
  if (baseline === undefined) return own;
  invariant(baseline.influences.length === estimate.influences.length, 'a paired difference needs the same items');
  const differences = estimate.influences.map((influence, index) => influence - (baseline.influences[index] ?? 0));
  const deltaStandardError = standardError(differences);
  return {
    ...own,
    baselineValue: baseline.value,
    delta: estimate.value - baseline.value,
    ...(deltaStandardError === null ? {} : { deltaStandardError }),
  };
}
