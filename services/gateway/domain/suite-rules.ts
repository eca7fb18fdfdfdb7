import { metricsOfSuite, type Threshold } from '#lib/contracts/jobs.ts';
import type { EvaluationSuite } from '#lib/contracts/trainer-protocol.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { at } from './findings.ts';

/** Suites that are listed twice: one figure cannot have two values. */
export function checkSuites(suites: readonly EvaluationSuite[], pointer: string): FieldError[] {
  const names = suites.map((suite) => (suite.suite === 'cloze' ? `cloze ${suite.items}` : suite.suite));
  return names.flatMap((name, index) =>
    names.indexOf(name) < index ? [at(`${pointer}/${index}`, `${name} is listed twice`)] : [],
  );
}

/** Whether a metric is one that the suites produce. */
export function checkMetric(metric: string, suites: readonly EvaluationSuite[], pointer: string): FieldError[] {
  const metrics = suites.flatMap((suite) => metricsOfSuite(suite));
  if (metrics.includes(metric)) return [];
  return [at(pointer, `is not produced by the chosen suites; they produce ${metrics.join(', ')}`)];
}

/** A policy may only name metrics of its suites, and the base only where there is one; `noBase` says why there is none. */
export function checkPolicy(
  policy: readonly Threshold[],
  suites: readonly EvaluationSuite[],
  pointer: string,
  noBase: string | null,
): FieldError[] {
  return policy.flatMap((threshold, index) => [
    ...checkMetric(threshold.metric, suites, `${pointer}/${index}/metric`),
    ...(threshold.relativeTo === 'base' && noBase !== null ? [at(`${pointer}/${index}/relativeTo`, noBase)] : []),
  ]);
}

/** `preference_accuracy` scores pairs against a baseline; `missing` says which of them there is not. */
export function refusePreferenceAccuracy(
  suites: readonly EvaluationSuite[],
  pointer: string,
  missing: string,
): FieldError[] {
  return suites.flatMap((suite, index) =>
    suite.suite === 'preference_accuracy' ? [at(`${pointer}/${index}`, `preference_accuracy needs ${missing}`)] : [],
  );
}
