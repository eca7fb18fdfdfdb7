import type { Activity } from './api-answers.ts';

/** A stretch of the demo's wall time. */
export interface Phase {
  readonly name: string;
  readonly seconds: number;
}

/**
 * Splits the time a job took as seen by the client into what the platform did in it: data (steps 1 to 7), training (8), and evaluation with
 * upload and registration (9 to 12). The three together are `wallSeconds`.
 */
export function jobPhases(model: string, wallSeconds: number, activities: readonly Activity[]): Phase[] {
  const training = activities.find(({ name }) => name === 'run_training');
  const first = activities[0];
  if (training?.endedAt == null || first === undefined) return [{ name: model, seconds: wallSeconds }];
  const secondsBetween = (from: string, to: string): number => (Date.parse(to) - Date.parse(from)) / 1_000;
  const data = secondsBetween(first.queuedAt, training.queuedAt);
  const trained = secondsBetween(training.queuedAt, training.endedAt);
  return [
    { name: `${model}: validate and tokenize the data`, seconds: data },
    { name: `${model}: training`, seconds: trained },
    { name: `${model}: upload, evaluation, registration`, seconds: Math.max(0, wallSeconds - data - trained) },
  ];
}
