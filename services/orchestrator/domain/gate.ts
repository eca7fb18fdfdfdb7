import { meets, type Threshold } from '#lib/contracts/jobs.ts';
import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';

/** How one line of a policy came out. `actual` is null when the metric (or its paired difference) is missing. */
interface ThresholdResult {
  readonly threshold: Threshold;
  readonly actual: number | null;
  readonly passed: boolean;
  readonly reason: string;
}

export interface GateDecision {
  readonly passed: boolean;
  readonly results: readonly ThresholdResult[];
}

/** Compares metrics with a policy. Fails closed: a metric that is missing or not a number does not pass. An empty policy passes. */
export function decideGate(policy: readonly Threshold[], metrics: readonly EvaluationMetric[]): GateDecision {
  const results = policy.map((threshold) => checkThreshold(threshold, metrics));
  return { passed: results.every((result) => result.passed), results };
}

function checkThreshold(threshold: Threshold, metrics: readonly EvaluationMetric[]): ThresholdResult {
  const metric = metrics.find((m) => m.name === threshold.metric);
  const what = threshold.relativeTo === 'base' ? `${threshold.metric} minus base` : threshold.metric;
  const actual = (threshold.relativeTo === 'base' ? metric?.delta : metric?.value) ?? null;
  if (actual === null || Number.isNaN(actual))
    return { threshold, actual: null, passed: false, reason: `${what} was not measured` };
  const passed = meets(actual, threshold);
  const relation = `${what} = ${actual.toPrecision(6)}, required ${threshold.operator} ${threshold.threshold}`;
  return { threshold, actual, passed, reason: relation };
}
