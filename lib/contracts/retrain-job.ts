import { type Static, Type } from '#typebox';
import { ResolvedSubject } from './eval-only-job.ts';
import { DatasetRef, FineTuneInput, FineTuneSpec, Name, ResolvedDataset } from './jobs.ts';
import { ReleaseSettings } from './release.ts';
import { EvaluationSuite } from './trainer-protocol.ts';

/** What a `retrain` job is asked to do: a new version of a model that is in production, on newer data, if it is better there. */
export const RetrainSpec = Type.Object(
  {
    /** The model that gets a new version; `training.model.name` must be the same. */
    model: Type.Object({ name: Name }, { additionalProperties: false }),
    /** Why: shown to people. */
    reason: Type.Object(
      {
        source: Type.Union([Type.Literal('drift'), Type.Literal('schedule'), Type.Literal('manual')], {
          default: 'manual',
        }),
        signalId: Type.Optional(Type.String({ maxLength: 200 })),
        causes: Type.Array(Type.String({ maxLength: 500 }), { maxItems: 100, default: [] }),
      },
      { additionalProperties: false, default: {} },
    ),
    /** SKIPPED when a retrain of the model started within so many hours; 0 = never. */
    stormHours: Type.Number({ minimum: 0, maximum: 8_760, default: 6 }),
    data: Type.Object(
      {
        /** `incremental`: rows that the data of the version in production does not have; `full`: all rows of `training.dataset`. */
        mode: Type.Union([Type.Literal('incremental'), Type.Literal('full')], { default: 'full' }),
        /** No row that occurs in one of these is trained on. The comparison set is always among them. */
        exclude: Type.Array(DatasetRef, { maxItems: 16, default: [] }),
        /** FAILED below. */
        minimumRows: Type.Integer({ minimum: 1, default: 1 }),
      },
      { additionalProperties: false, default: {} },
    ),
    training: FineTuneSpec,
    /** Champion and challenger on the same items. */
    comparison: Type.Object(
      {
        dataset: DatasetRef,
        suites: Type.Array(EvaluationSuite, { minItems: 1, maxItems: 8 }),
        metric: Type.String({ minLength: 1, maxLength: 200 }),
        /** 0: the lower 95 % bound of the improvement must be above zero. m > 0: not worse than the champion by more than m. */
        nonInferiorityMargin: Type.Number({ minimum: 0, default: 0 }),
      },
      { additionalProperties: false },
    ),
    release: ReleaseSettings,
  },
  { additionalProperties: false },
);
export type RetrainSpec = Static<typeof RetrainSpec>;

/** Input of the `retrain` machine. */
export const RetrainInput = Type.Object({
  jobId: Type.String(),
  project: Name,
  spec: RetrainSpec,
  /** The version in production, or the newest one of a model that has none there; null: the model is new. */
  champion: Type.Union([
    Type.Object({ version: Type.Integer({ minimum: 1 }), stage: Type.String(), subject: ResolvedSubject }),
    Type.Null(),
  ]),
  /** When the last retrain of this model was taken in, epoch ms; null = never. */
  lastRetrainAtMs: Type.Union([Type.Integer(), Type.Null()]),
  submittedAtMs: Type.Integer(),
  training: Type.Omit(FineTuneInput, ['jobId', 'project', 'spec']),
  /** `data.exclude` and the comparison set. */
  exclude: Type.Array(ResolvedDataset),
  comparison: ResolvedDataset,
  configDigest: Type.String(),
  codeCommit: Type.String(),
});
export type RetrainInput = Static<typeof RetrainInput>;
