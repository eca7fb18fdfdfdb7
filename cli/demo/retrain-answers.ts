import { type Static, Type } from '#typebox';
import { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';

/** What the demo reads of the answers about drift, retrains and promotions. */
const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) => Type.Union([schema, Type.Null()]);

export const StoredReference = Type.Object({ rows: Type.Integer(), features: Type.Integer() });
export const StoredPolicy = Type.Object({ model: Type.String() });

const Signal = Type.Object({
  id: Type.String(),
  modelVersion: nullable(Type.Integer()),
  outcome: Type.String(),
  reason: nullable(Type.String()),
  causes: Type.Array(Type.String()),
  evidence: Type.Unknown(),
  window: nullable(Type.Object({ start: Type.String(), end: Type.String() })),
  jobId: nullable(Type.String()),
  refusal: Type.Unknown(),
});
export type Signal = Static<typeof Signal>;
/** `evidence` of a signal that drift caused. */
export const DriftEvidence = Type.Object({
  window: Type.Object({ observations: Type.Integer() }),
  features: Type.Array(
    Type.Object({
      feature: Type.String(),
      drifted: Type.Boolean(),
      adjustedPValue: Type.Number(),
      jensenShannon: Type.Number(),
    }),
  ),
});
export const SignalList = Type.Object({ items: Type.Array(Signal) });

export const RetrainResult = Type.Object({
  data: Type.Object({ rows: Type.Integer(), excludedRows: Type.Integer() }),
  training: Type.Object({ jobId: Type.String(), status: Type.String() }),
  champion: nullable(Type.Integer()),
  comparison: nullable(
    Type.Object({
      metrics: Type.Array(EvaluationMetric),
      decision: Type.Object({ better: Type.Boolean(), reason: Type.String() }),
    }),
  ),
  model: Type.Object({ name: Type.String(), version: Type.Integer() }),
  release: Type.Object({
    promoted: Type.Boolean(),
    canary: nullable(
      Type.Object({
        outcome: Type.String(),
        reports: Type.Array(
          Type.Object({
            metric: Type.String(),
            standing: Type.String(),
            canaryMean: nullable(Type.Number()),
            canaryCount: Type.Integer(),
            baselineMean: nullable(Type.Number()),
            baselineCount: Type.Integer(),
          }),
        ),
      }),
    ),
  }),
});
export type RetrainResult = Static<typeof RetrainResult>;

export const Promotion = Type.Object({
  version: Type.Integer(),
  stage: Type.String(),
  reason: Type.String(),
});
export const PromotionList = Type.Object({ items: Type.Array(Promotion) });
export type Promotion = Static<typeof Promotion>;

export const ApprovalList = Type.Object({
  items: Type.Array(Type.Object({ id: Type.String(), digest: Type.String(), status: Type.String() })),
});
export const Approval = Type.Object({ id: Type.String(), status: Type.String() });
