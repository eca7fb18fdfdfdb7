import { type Static, Type } from '#typebox';
import { ReferenceProfile } from './reference-profile.ts';
import { areUnitMoments } from './unit-moments.ts';

/** How one answer is scored, on the scale 0 (bad) to 1 (good). */
export const ScoreMeasure = Type.Union([
  /** 1 when the prediction is the label, else 0; counts when the label is known, which may be later. */
  Type.Object({ measure: Type.Literal('accuracy') }, { additionalProperties: false }),
  /** The observation's `score`, scaled from `low` to `high`. */
  Type.Object(
    {
      measure: Type.Literal('score'),
      low: Type.Number(),
      high: Type.Number(),
      higherIsBetter: Type.Boolean({ default: true }),
    },
    { additionalProperties: false },
  ),
]);
export type ScoreMeasure = Static<typeof ScoreMeasure>;

/** How well a model did at its evaluation: moments of its scores on the scale 0 to 1. */
export const ReferencePerformance = Type.Object(
  {
    by: ScoreMeasure,
    count: Type.Integer({ minimum: 1 }),
    sum: Type.Number({ minimum: 0 }),
    sumOfSquares: Type.Number({ minimum: 0 }),
  },
  { additionalProperties: false },
);
export type ReferencePerformance = Static<typeof ReferencePerformance>;

/** What production of a model version is compared with. */
export const ModelReference = Type.Object(
  { profile: ReferenceProfile, performance: Type.Union([ReferencePerformance, Type.Null()]) },
  { additionalProperties: false },
);
export type ModelReference = Static<typeof ModelReference>;

/** Why the performance cannot be used, or null: what a schema cannot say. */
export function performanceProblem(performance: ReferencePerformance): string | null {
  const { by, count, sum, sumOfSquares } = performance;
  if (by.measure === 'score' && by.low >= by.high) return 'low is not below high';
  return areUnitMoments({ count, sum, sumOfSquares }) ? null : 'no scores from 0 to 1 have these sums';
}

/** One answer's score from 0 to 1, or null when it has none (yet). */
export function unitScore(
  by: ScoreMeasure,
  answer: { readonly prediction: string; readonly label: string | null; readonly score: number | null },
): number | null {
  if (by.measure === 'accuracy') return answer.label === null ? null : Number(answer.label === answer.prediction);
  if (answer.score === null) return null;
  return Math.min(1, Math.max(0, (answer.score - by.low) / (by.high - by.low)));
}
