import { type Static, Type } from '#typebox';
import { DatasetFormat, Name } from './jobs.ts';
import { EvaluationMetric, EvaluationReport, EvaluationSuite } from './trainer-protocol.ts';

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' });

/** What was evaluated, down to the digest of its manifest. */
const ReportSubject = Type.Object({
  label: Type.String(),
  weights: Digest,
  adapter: Type.Optional(Digest),
  model: Type.Optional(Type.Object({ name: Name, version: Type.Integer({ minimum: 1 }) })),
});
export type ReportSubject = Static<typeof ReportSubject>;

/**
 * The stored result of `evaluate_models`: canonical JSON but for its indentation. It holds neither a time nor an attempt, so the same evaluation
 * gives the same bytes; approvals are bound to its digest.
 */
export const ModelReport = Type.Object({
  format: Type.Literal('trainyard-model-report/1'),
  subject: ReportSubject,
  dataset: Type.Object({
    name: Name,
    version: Type.Integer({ minimum: 1 }),
    format: DatasetFormat,
    sha256: Digest,
    /** Scored: those with text. */
    documents: Type.Integer({ minimum: 0 }),
    tokens: Type.Integer({ minimum: 0 }),
  }),
  /** SHA-256 of the dataset of pairs, or of the manifest of the tokenized pairs. */
  preferences: Type.Optional(Digest),
  suites: Type.Array(EvaluationSuite),
  seed: Type.Integer({ minimum: 0 }),
  /** `baselineValue` and `delta*` against the first of `comparisons`. */
  metrics: Type.Array(EvaluationMetric),
  comparisons: Type.Array(Type.Object({ subject: ReportSubject, metrics: Type.Array(EvaluationMetric) })),
  samples: EvaluationReport.properties.samples,
});
export type ModelReport = Static<typeof ModelReport>;
