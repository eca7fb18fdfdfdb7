import { type Static, Type } from '#typebox';
import { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';

/** What the demo reads of a search's answers. */
const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) => Type.Union([schema, Type.Null()]);
const Configuration = Type.Record(Type.String(), Type.Union([Type.Number(), Type.String(), Type.Boolean()]));

/** Of `GET /v1/jobs/{id}/trials`: how each trial stands now. */
export const TrialList = Type.Object({
  items: Type.Array(
    Type.Object({
      number: Type.Integer(),
      jobId: Type.String(),
      status: Type.String(),
      configuration: Configuration,
      value: nullable(Type.Number()),
      lastReport: nullable(Type.Object({ step: Type.Integer(), value: Type.Number() })),
    }),
  ),
});
export type TrialView = Static<typeof TrialList>['items'][number];

/** `result` of an `hpo` job. */
export const HpoResult = Type.Object({
  best: Type.Object({
    number: Type.Integer(),
    configuration: Configuration,
    value: Type.Number(),
    jobId: Type.String(),
  }),
  trials: Type.Array(
    Type.Object({
      number: Type.Integer(),
      configuration: Configuration,
      standing: Type.String(),
      value: nullable(Type.Number()),
      steps: Type.Integer(),
      plannedSteps: Type.Integer(),
      gpuSeconds: Type.Number(),
      jobId: Type.String(),
    }),
  ),
  prunings: Type.Array(
    Type.Object({
      trial: Type.Integer(),
      evidence: Type.Object({
        strategy: Type.String(),
        reason: Type.String(),
        step: Type.Integer(),
        checkStep: Type.Integer(),
        value: Type.Union([Type.Number(), Type.String()]),
        threshold: nullable(Type.Union([Type.Number(), Type.String()])),
        rank: nullable(Type.Number()),
        peers: Type.Integer(),
      }),
    }),
  ),
  savings: Type.Object({
    stepsRun: Type.Integer(),
    stepsSaved: Type.Integer(),
    savedFraction: Type.Number(),
    gpuSecondsUsed: Type.Number(),
    gpuSecondsSaved: Type.Number(),
  }),
  importance: Type.Array(
    Type.Object({
      parameter: Type.String(),
      varianceExplained: nullable(Type.Number()),
      rankCorrelation: nullable(Type.Number()),
    }),
  ),
  evaluation: Type.Object({ metrics: Type.Array(EvaluationMetric) }),
  model: nullable(Type.Object({ name: Type.String(), version: Type.Integer() })),
});
export type HpoResult = Static<typeof HpoResult>;
