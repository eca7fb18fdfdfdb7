import { Type } from '#typebox';
import { ResolvedSubject } from './eval-only-job.ts';
import { ManifestRef, Name, ResolvedDataset } from './jobs.ts';
import { EvaluationMetric, EvaluationSuite } from './trainer-protocol.ts';

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' });
const StoredFile = Type.Object({ key: Type.String(), digest: Digest });

/**
 * Scores one subject, and any number of others on the same items. Its data is made of all of `dataset` with the subject's own tokenizer;
 * subjects with another tokenizer cannot be paired and fail the activity for good.
 */
const EvaluateModels = {
  input: Type.Object({
    jobId: Type.String(),
    subject: ResolvedSubject,
    compareWith: Type.Array(ResolvedSubject),
    dataset: ResolvedDataset,
    /** Pairs for `preference_accuracy`: a dataset (all of it is scored), or a tokenized folder, whose validation split is. */
    preferences: Type.Optional(Type.Union([ResolvedDataset, ManifestRef])),
    suites: Type.Array(EvaluationSuite),
    samples: Type.Integer(),
    seed: Type.Integer(),
  }),
  output: Type.Object({
    /** JSON: subject, metrics, one comparison a model, samples. */
    report: StoredFile,
    /** The same for people, Markdown. */
    markdown: StoredFile,
    /** Of the subject; `baselineValue` and `delta*` against the first of `compareWith`. */
    metrics: Type.Array(EvaluationMetric),
    /** One per member of `compareWith`, in their order; `delta` = subject minus that model. */
    comparisons: Type.Array(Type.Object({ label: Type.String(), metrics: Type.Array(EvaluationMetric) })),
    samples: Type.Array(Type.Object({ prompt: Type.String(), text: Type.String() })),
  }),
};

/** Writes the report's address and digest into the tags of a registered version. */
const AttachReport = {
  input: Type.Object({
    jobId: Type.String(),
    model: Type.Object({ name: Name, version: Type.Integer({ minimum: 1 }) }),
    report: StoredFile,
    markdown: StoredFile,
  }),
  output: Type.Object({ name: Name, version: Type.Integer(), tags: Type.Record(Type.String(), Type.String()) }),
};

export const EVALUATION_ACTIVITIES = {
  evaluate_models: EvaluateModels,
  attach_report: AttachReport,
  /** The two evaluations of `rlhf`: the same work, named as the flow names it. */
  run_safety_evaluation: EvaluateModels,
  run_quality_evaluation: EvaluateModels,
  /** Champion and challenger of `retrain`. */
  compare_with_champion: EvaluateModels,
} as const;
