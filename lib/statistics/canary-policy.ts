import { type Static, Type } from '#typebox';

const Name = Type.String({ minLength: 1, maxLength: 100 });
const Higher = Type.Boolean({ description: 'true for a score, false for errors and slow answers' });

/**
 * What is guarded. `baseline`: the canary's mean against that of the baseline of the same age, and how much worse it may be (`tolerance`). `limit`: the
 * canary's mean against a fixed bound; a p99 latency of at most L is the share of answers slower than L against 0.01.
 * All in unit scale: values in [0, 1], see `unitMoments` and `proportionMoments`.
 */
export const CanaryMetric = Type.Union([
  Type.Object(
    {
      name: Name,
      against: Type.Literal('baseline'),
      higherIsBetter: Higher,
      tolerance: Type.Number({ minimum: 0, maximum: 1 }),
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      name: Name,
      against: Type.Literal('limit'),
      higherIsBetter: Higher,
      limit: Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1 }),
    },
    { additionalProperties: false },
  ),
]);
export type CanaryMetric = Static<typeof CanaryMetric>;

export const CanaryPolicy = Type.Object(
  {
    metrics: Type.Array(CanaryMetric, { minItems: 1, maxItems: 20 }),
    /** Chance that a canary which is within every tolerance ever fails, all metrics together. */
    falseFailRate: Type.Number({ exclusiveMinimum: 0, maximum: 0.5 }),
    /** Chance that a canary which is beyond a tolerance passes. */
    falsePassRate: Type.Number({ exclusiveMinimum: 0, maximum: 0.5 }),
    /** Fewest values of every metric in each arm of a period for a pass. A failure needs evidence only. */
    minimumSample: Type.Integer({ minimum: 1 }),
    /** No pass before: one hour of traffic says nothing about the night. */
    minimumDurationMs: Type.Integer({ minimum: 0 }),
    /** Inconclusive after. */
    maximumDurationMs: Type.Integer({ minimum: 1 }),
  },
  { additionalProperties: false },
);
export type CanaryPolicy = Static<typeof CanaryPolicy>;
