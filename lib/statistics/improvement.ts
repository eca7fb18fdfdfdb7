import type { PairedReason } from './paired-comparison.ts';
import { studentTUpperQuantile } from './student-t.ts';

/** Outside of the two-sided 95 % interval, below it. */
const LOWER_TAIL = 0.025;

/**
 * Items whose differences are all equal show no spread, and the standard error is 0. With fewer items than this that may be luck; eight
 * improvements in a row come by chance once in 256 times, well below the 2.5 % that the test promises.
 */
const FEWEST_WITHOUT_SPREAD = 8;

/** Relative to the difference: what adding up equal numbers leaves as a standard error (2.8e-17 of two differences of 0.1) is no spread. */
const ROUNDING = 1e-9;

/** The part of an evaluation metric that a decision needs; `delta` is challenger minus champion on the same items. */
export interface ComparedMetric {
  readonly higherIsBetter: boolean;
  /** Independent items behind the difference. */
  readonly count: number;
  readonly delta?: number | undefined;
  /** Of the paired difference. */
  readonly deltaStandardError?: number | undefined;
}

export interface Improvement {
  readonly better: boolean;
  readonly reason: PairedReason;
  /** In the metric's unit, positive = better whatever the metric's direction. Null without a decision. */
  readonly improvement: number | null;
  /** Lower end of the two-sided 95 % interval of the improvement. Null without a decision. */
  readonly lowerBound: number | null;
}

/**
 * Whether a challenger is better than a champion by a metric of which only the summary is known. Better when
 * `improvement - t(0.975, count - 1) * deltaStandardError > -nonInferiorityMargin`, where improvement is delta with the sign of the metric's
 * direction (paired differences and their standard error: Miller 2024, "Adding error bars to evals", section 4.2; margin: Piaggio et al. 2012,
 * CONSORT extension for non-inferiority). The interval is two-sided as in `comparePaired`, so a challenger that equals the champion passes a
 * superiority test 2.5 % of the time. Fails closed: a metric, a difference or an error that is missing or not finite, and too few items, are not better.
 */
export function decideImprovement(
  metric: ComparedMetric | undefined,
  { nonInferiorityMargin }: { readonly nonInferiorityMargin: number },
): Improvement {
  const { delta, deltaStandardError: error, count = 0, higherIsBetter } = metric ?? {};
  if (!finite(delta) || !finite(error) || error < 0 || !finite(nonInferiorityMargin) || nonInferiorityMargin < 0)
    return undecided('MetricMissing');
  if (!(count >= 2)) return undecided('TooFewExamples');
  const improvement = higherIsBetter === true ? delta : -delta;
  const spreads = error > ROUNDING * Math.abs(improvement);
  // An improvement of exactly nothing without a spread is no luck: the outputs are equal.
  if (!spreads && improvement !== 0 && count < FEWEST_WITHOUT_SPREAD) return undecided('TooFewExamples');
  const lowerBound = !spreads ? improvement : improvement - studentTUpperQuantile(LOWER_TAIL, count - 1) * error;
  const better = lowerBound > -nonInferiorityMargin;
  return {
    better,
    reason: lowerBound > 0 ? 'Better' : better ? 'NotInferior' : 'NotProven',
    // No -0 in a report.
    improvement: improvement + 0,
    lowerBound: lowerBound + 0,
  };
}

const finite = (value: number | undefined): value is number => value !== undefined && Number.isFinite(value);

const undecided = (reason: PairedReason): Improvement => ({
  better: false,
  reason,
  improvement: null,
  lowerBound: null,
});
