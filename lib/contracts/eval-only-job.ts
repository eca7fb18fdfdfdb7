import { type Static, Type } from '#typebox';
import { DatasetRef, ManifestRef, ModelReference, Name, ResolvedDataset, Threshold } from './jobs.ts';
import { EvaluationSuite } from './trainer-protocol.ts';

/** What is evaluated: a registered version, or artifacts by the address and digest of their manifest. */
export const EvaluationSubject = Type.Union([
  Type.Object({ model: ModelReference }, { additionalProperties: false }),
  Type.Object(
    {
      artifact: Type.Object(
        {
          manifestKey: Type.String({ minLength: 1, maxLength: 1_024 }),
          digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
        },
        { additionalProperties: false },
      ),
    },
    { additionalProperties: false },
  ),
]);
export type EvaluationSubject = Static<typeof EvaluationSubject>;

/** What an `eval_only` job is asked to do. All of `dataset` is scored: it is an evaluation set, nothing is held back. */
export const EvalOnlySpec = Type.Object(
  {
    subject: EvaluationSubject,
    /** Scored on the same items; each gets paired differences with their standard errors. */
    compareWith: Type.Array(EvaluationSubject, { maxItems: 8, default: [] }),
    dataset: DatasetRef,
    /** Pairs for the suite `preference_accuracy`, which also needs something to compare with. */
    preferences: Type.Optional(DatasetRef),
    suites: Type.Array(EvaluationSuite, { minItems: 1, maxItems: 16 }),
    /** `relativeTo: 'base'` means the first of `compareWith`. A policy that is not met ends the job EVAL_FAILED. */
    policy: Type.Array(Threshold, { maxItems: 32, default: [] }),
    samples: Type.Integer({ minimum: 0, maximum: 16, default: 3 }),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 1 }),
  },
  { additionalProperties: false },
);
export type EvalOnlySpec = Static<typeof EvalOnlySpec>;

/** A subject as the gateway pinned it. `label` is what reports call it, e.g. `demo/3` or the start of a digest. */
export const ResolvedSubject = Type.Object({
  label: Type.String(),
  weights: ManifestRef,
  adapter: Type.Optional(ManifestRef),
  /** Present for a registered version: reports are attached to it. */
  model: Type.Optional(Type.Object({ name: Name, version: Type.Integer({ minimum: 1 }) })),
});
export type ResolvedSubject = Static<typeof ResolvedSubject>;

/** Input of the `eval_only` machine. */
export const EvalOnlyInput = Type.Object({
  jobId: Type.String(),
  project: Name,
  spec: EvalOnlySpec,
  subject: ResolvedSubject,
  compareWith: Type.Array(ResolvedSubject),
  dataset: ResolvedDataset,
  preferences: Type.Optional(ResolvedDataset),
  configDigest: Type.String(),
  codeCommit: Type.String(),
});
export type EvalOnlyInput = Static<typeof EvalOnlyInput>;
