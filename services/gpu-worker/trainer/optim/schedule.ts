export interface Schedule {
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly minLearningRateRatio: number;
  readonly maxSteps: number;
}

/**
 * The learning rate of optimiser step `step` (from 1): linear over the warm-up, then half a cosine down to
 * `minLearningRateRatio * learningRate` at `maxSteps`. A function of the step alone, so that a resumed run follows it.
 */
export function learningRateAt(step: number, schedule: Schedule): number {
  const { learningRate, warmupSteps, minLearningRateRatio, maxSteps } = schedule;
  if (step <= warmupSteps) return (learningRate * step) / warmupSteps;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, maxSteps - warmupSteps));
  const cosine = (1 + Math.cos(Math.PI * progress)) / 2;
  return learningRate * (minLearningRateRatio + (1 - minLearningRateRatio) * cosine);
}
