export interface CurvePoint {
  readonly step: number;
  readonly value: number;
}

/** What a training shows of itself: losses in nats per token by optimiser step. */
export interface LearningCurves {
  readonly title: string;
  /** Averaged over a few steps by the trainer. */
  readonly train: readonly CurvePoint[];
  readonly validation: readonly CurvePoint[];
}

/** Smallest and largest step and loss of both curves; null without any point. */
export function extent(curves: LearningCurves): { steps: [number, number]; losses: [number, number] } | null {
  const points = [...curves.train, ...curves.validation].filter(({ value }) => Number.isFinite(value));
  if (points.length === 0) return null;
  const steps = points.map(({ step }) => step);
  const losses = points.map(({ value }) => value);
  return {
    steps: [Math.min(...steps), Math.max(...steps)],
    losses: [Math.min(...losses), Math.max(...losses)],
  };
}
