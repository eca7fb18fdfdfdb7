import { type Static, Type } from '#typebox';
import { CanaryMetric } from '#lib/statistics/canary-policy.ts';

/** People who must agree before a version goes on: N of M, never the submitter. */
export const ApprovalPolicy = Type.Object(
  {
    /** Different approvers who must agree; one rejection ends it. */
    required: Type.Integer({ minimum: 1, maximum: 20, default: 1 }),
    /** Key ids that may answer; absent = every key with the role approver. */
    approvers: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { minItems: 1, maxItems: 50, uniqueItems: true }),
    ),
    /** Nobody answered in time: rejected. At most 90 days. */
    expiresAfterHours: Type.Number({ exclusiveMinimum: 0, maximum: 2_160, default: 72 }),
    remindEveryHours: Type.Number({ exclusiveMinimum: 0, maximum: 2_160, default: 24 }),
  },
  { additionalProperties: false },
);
export type ApprovalPolicy = Static<typeof ApprovalPolicy>;

/** A share of real traffic for the new version, watched by a test that may be looked at at any time (`lib/statistics/canary.ts`). */
export const CanarySettings = Type.Object(
  {
    /** Share of the keys that go to the new version, percent. */
    weightPercent: Type.Number({ exclusiveMinimum: 0, maximum: 100, default: 10 }),
    /** No pass before. */
    minimumHours: Type.Number({ minimum: 0, maximum: 720, default: 1 }),
    /** Inconclusive after. */
    maximumHours: Type.Number({ exclusiveMinimum: 0, maximum: 720, default: 24 }),
    /** Fewest values of every metric in each arm for a pass; a user (`x-routing-key`) gives one in a quarter of the longest time. */
    minimumSample: Type.Integer({ minimum: 1, default: 200 }),
    metrics: Type.Array(CanaryMetric, {
      minItems: 1,
      maxItems: 20,
      default: [{ name: 'error_rate', against: 'baseline', higherIsBetter: false, tolerance: 0.02 }],
    }),
    /** Answers slower than this count as slow in the metric `slow_rate`, ms. */
    latencyLimitMs: Type.Number({ exclusiveMinimum: 0, default: 1_000 }),
    falseFailRate: Type.Number({ exclusiveMinimum: 0, maximum: 0.5, default: 0.01 }),
    falsePassRate: Type.Number({ exclusiveMinimum: 0, maximum: 0.5, default: 0.05 }),
    /** What an inconclusive canary leads to: people decide, or the former version stays. */
    onInconclusive: Type.Union([Type.Literal('approval'), Type.Literal('rollback')], { default: 'approval' }),
  },
  { additionalProperties: false },
);
export type CanarySettings = Static<typeof CanarySettings>;

/** What stands between a registered version and production. Neither member: the version stays in stage `dev`. */
export const ReleaseSettings = Type.Object(
  {
    /** Promote when the gates, the approval (if any) and the canary (if any) were passed. */
    promote: Type.Boolean({ default: false }),
    approval: Type.Optional(ApprovalPolicy),
    canary: Type.Optional(CanarySettings),
  },
  { additionalProperties: false },
);
export type ReleaseSettings = Static<typeof ReleaseSettings>;

/** The signed question of an approval: what was reviewed. Its canonical JSON's SHA-256 is the digest that a vote names. */
export const ApprovalSubject = Type.Object({
  kind: Type.Union([Type.Literal('release'), Type.Literal('inconclusive_canary')]),
  model: Type.Object({ name: Type.String(), version: Type.Integer() }),
  /** Digest of the version's manifest. */
  artifacts: Type.String(),
  /** Digests of the reports that speak for it. */
  reports: Type.Record(Type.String(), Type.String()),
  /** Of an inconclusive canary: the version it was compared with, and what was measured of each metric. */
  canary: Type.Optional(
    Type.Object({ baseline: Type.Union([Type.Integer(), Type.Null()]), reports: Type.Array(Type.Unknown()) }),
  ),
});
export type ApprovalSubject = Static<typeof ApprovalSubject>;
