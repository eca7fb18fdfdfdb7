import { invariant } from '#lib/kernel/errors.ts';
import { studentTUpperQuantile } from './student-t.ts';

export interface PairedPolicy {
  readonly higherIsBetter: boolean;
  /** 0 asks for superiority; above 0 the challenger may be worse by less than this, in the metric's unit. */
  readonly nonInferiorityMargin: number;
  /** Confidence of the two-sided interval, 0.95 by convention. */
  readonly confidence: number;
  /** Fewest examples (or clusters) for a decision. */
  readonly minimumExamples: number;
}

export const PAIRED_REASONS = ['Better', 'NotInferior', 'NotProven', 'TooFewExamples', 'MetricMissing'] as const;
export type PairedReason = (typeof PAIRED_REASONS)[number];

export interface PairedResult {
  readonly passed: boolean;
  readonly reason: PairedReason;
  readonly examples: number;
  /** Independent units: clusters if given, else examples. */
  readonly units: number;
  /** Challenger minus champion, positive = better whatever the metric's direction; the metric's unit. Null without a decision. */
  readonly meanDifference: number | null;
  readonly standardError: number | null;
  /** Lower end of the two-sided interval of the mean difference. */
  readonly lowerBound: number | null;
}

/**
 * Challenger against champion on the same examples, in the same order. Passes when the lower end of the interval mean - t(units - 1) x standard error lies above
 * -margin. The interval is two-sided: at 95 % a challenger that is as good as the champion passes 2.5 % of the time, which leaves room
 * for skewed differences below the 5 % the gate promises. Equal outputs never pass for superiority. `clusters` (one id per example: document, prompt) gives
 * the cluster-robust standard error (Miller 2024, "Adding error bars to evals", section 2.2). A value that is not finite is a missing metric and fails.
 */
export function comparePaired(
  challenger: ArrayLike<number>,
  champion: ArrayLike<number>,
  policy: PairedPolicy,
  clusters?: ArrayLike<number | string>,
): PairedResult {
  invariant(challenger.length === champion.length, 'a paired comparison needs the same examples on both sides');
  invariant(clusters === undefined || clusters.length === champion.length, 'one cluster per example');
  invariant(policy.nonInferiorityMargin >= 0, 'a margin is not negative');
  invariant(policy.confidence > 0 && policy.confidence < 1, 'a confidence lies in (0, 1)');
  const examples = champion.length;
  const differences = new Float64Array(examples);
  for (let i = 0; i < examples; i++) {
    const difference = (challenger[i] as number) - (champion[i] as number);
    if (!Number.isFinite(difference)) return undecided('MetricMissing', examples, examples);
    differences[i] = policy.higherIsBetter ? difference : -difference;
  }
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / examples;
  const residuals =
    clusters === undefined ? differences.map((each) => each - mean) : clusterSums(differences, mean, clusters);
  const units = residuals.length;
  if (units < Math.max(2, policy.minimumExamples)) return undecided('TooFewExamples', examples, units);
  const squares = residuals.reduce((sum, residual) => sum + residual * residual, 0);
  const standardError = Math.sqrt((squares * units) / (units - 1)) / examples;
  const quantile = studentTUpperQuantile((1 - policy.confidence) / 2, units - 1);
  const lowerBound = mean - quantile * standardError;
  const passed = lowerBound > -policy.nonInferiorityMargin;
  const reason = lowerBound > 0 ? 'Better' : passed ? 'NotInferior' : 'NotProven';
  return { passed, reason, examples, units, meanDifference: mean, standardError, lowerBound };
}

function clusterSums(differences: Float64Array, mean: number, clusters: ArrayLike<number | string>): Float64Array {
  const sums = new Map<number | string, number>();
  for (let i = 0; i < differences.length; i++) {
    const cluster = clusters[i] as number | string;
    sums.set(cluster, (sums.get(cluster) ?? 0) + (differences[i] as number) - mean);
  }
  return Float64Array.from(sums.values());
}

const undecided = (reason: PairedReason, examples: number, units: number): PairedResult => ({
  passed: false,
  reason,
  examples,
  units,
  meanDifference: null,
  standardError: null,
  lowerBound: null,
});
