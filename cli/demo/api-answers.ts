import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import { FINAL_STATUSES, JOB_TYPES, type JobStatus, type JobType } from '#lib/contracts/jobs.ts';
import { EvaluationMetric, EvaluationReport, Technique } from '#lib/contracts/trainer-protocol.ts';

/** What the demo reads of the gateway's answers; members it does not need are left out. */
const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) => Type.Union([schema, Type.Null()]);

export const LaneSeconds = Type.Object({ useful: Type.Number(), lost: Type.Number(), waiting: Type.Number() });
export type LaneSeconds = Static<typeof LaneSeconds>;

export const Problem = Type.Object({
  code: Type.String(),
  detail: Type.String(),
  errors: Type.Optional(Type.Array(Type.Object({ pointer: Type.String(), message: Type.String() }))),
});

export const Project = Type.Object({ id: Type.String() });
export const IssuedKey = Type.Object({ key: Type.String() });
export const DatasetVersion = Type.Object({
  name: Type.String(),
  version: Type.Integer(),
  bytes: Type.Integer(),
  sha256: Type.String(),
});
export type DatasetVersion = Static<typeof DatasetVersion>;

export const JobTypeName = Type.Unsafe<JobType>(Type.Union(JOB_TYPES.map((type) => Type.Literal(type))));

export const Job = Type.Object({
  id: Type.String(),
  type: JobTypeName,
  status: Type.String(),
  step: nullable(Type.String()),
  /** As the type wants it; `modelOf` knows where each has its model. */
  spec: Type.Unknown(),
  result: Type.Unknown(),
  error: Type.Unknown(),
  laneSeconds: LaneSeconds,
  submittedAt: Type.String(),
  startedAt: nullable(Type.String()),
  finishedAt: nullable(Type.String()),
});
export type Job = Static<typeof Job>;
export const JobList = Type.Object({ items: Type.Array(Job) });

const Named = Type.Object({ name: Type.String() });
const SPECS = {
  fine_tune: Type.Object({ method: Technique, model: Named }),
  hpo: Type.Object({ trial: Type.Object({ model: Named }) }),
  rlhf: Type.Object({ model: Named, algorithm: Type.String() }),
  retrain: Type.Object({ model: Named }),
  eval_only: Type.Object({ subject: Type.Object({ model: Type.Optional(Type.String()) }) }),
} as const;

/** The model that a job makes or looks at, as people call it. */
export function modelOf({ type, spec }: Job): string {
  switch (type) {
    case 'hpo':
      return Value.Parse(SPECS.hpo, spec).trial.model.name;
    case 'eval_only':
      return Value.Parse(SPECS.eval_only, spec).subject.model ?? 'stored artifacts';
    case 'fine_tune':
    case 'retrain':
    case 'rlhf':
      return Value.Parse(SPECS.retrain, spec).model.name;
  }
}

/** How a fine-tuning trains. */
export const methodOf = ({ spec }: Job): Technique => Value.Parse(SPECS.fine_tune, spec).method;

/** Whether an alignment trains a reward model first. */
export const hasRewardModel = ({ spec }: Job): boolean => Value.Parse(SPECS.rlhf, spec).algorithm === 'ppo';

/** `error` of a job that failed. */
export const JobFailure = Type.Object({
  code: Type.String(),
  message: Type.String(),
  logTail: Type.Optional(Type.Array(Type.String())),
});

export const isFinal = (job: Job): boolean => FINAL_STATUSES.includes(job.status as JobStatus);

const Gate = Type.Object({
  passed: Type.Boolean(),
  results: Type.Array(Type.Object({ passed: Type.Boolean(), reason: Type.String() })),
});
export type Gate = Static<typeof Gate>;
const Evaluation = Type.Object({ metrics: Type.Array(EvaluationMetric), gate: Gate });

/** What any job answers that a gate has judged. */
export const Judged = Type.Object({ evaluation: Type.Optional(Evaluation), safety: Type.Optional(Evaluation) });

/** `result` of a `fine_tune` job that came as far as its evaluation. */
export const FineTuneResult = Type.Object({
  evaluation: Evaluation,
  samples: EvaluationReport.properties.samples,
  training: Type.Record(Type.String(), Type.Number()),
});
export type FineTuneResult = Static<typeof FineTuneResult>;

const StoredFile = Type.Object({ key: Type.String(), digest: Type.String() });

/** `result` of an `eval_only` job. */
export const EvalResult = Type.Object({
  subject: Type.String(),
  evaluation: Type.Object({ ...Evaluation.properties, report: StoredFile, markdown: StoredFile }),
  comparisons: Type.Array(Type.Object({ label: Type.String(), metrics: Type.Array(EvaluationMetric) })),
  samples: EvaluationReport.properties.samples,
});
export type EvalResult = Static<typeof EvalResult>;

/** `result` of an `rlhf` job that came as far as its safety gate; what lies behind the gate is absent when it failed. */
export const RlhfResult = Type.Object({
  preferences: Type.Object({ pairs: Type.Integer() }),
  training: Type.Record(Type.String(), Type.Number()),
  safety: Type.Object({ ...Evaluation.properties, markdown: StoredFile }),
  evaluation: Type.Optional(Type.Object({ ...Evaluation.properties, markdown: StoredFile })),
  samples: Type.Optional(EvaluationReport.properties.samples),
  model: nullable(Type.Object({ name: Type.String(), version: Type.Integer() })),
});
export type RlhfResult = Static<typeof RlhfResult>;

const Progress = Type.Object({
  atMs: Type.Number(),
  step: Type.Integer(),
  stepsTotal: Type.Integer(),
  throughput: nullable(Type.Number()),
  device: Type.Optional(
    nullable(
      Type.Object({
        slot: Type.Optional(Type.Integer()),
        loss: Type.Optional(nullable(Type.Number())),
      }),
    ),
  ),
});

export const Activity = Type.Object({
  name: Type.String(),
  lane: Type.String(),
  state: Type.String(),
  epoch: Type.Integer(),
  failures: Type.Integer(),
  workerId: nullable(Type.String()),
  waitReason: nullable(Type.String()),
  progress: nullable(Progress),
  queuedAt: Type.String(),
  startedAt: nullable(Type.String()),
  endedAt: nullable(Type.String()),
});
export type Activity = Static<typeof Activity>;
export const ActivityList = Type.Object({ items: Type.Array(Activity) });

const Lane = Type.Object({ lane: Type.String(), slots: Type.Integer(), running: Type.Integer() });
export type Lane = Static<typeof Lane>;
export const LaneList = Type.Object({ items: Type.Array(Lane) });

export const Curves = Type.Object({
  series: Type.Array(
    Type.Object({
      name: Type.String(),
      activity: Type.String(),
      points: Type.Array(Type.Object({ step: Type.Integer(), value: Type.Number() })),
    }),
  ),
});

export const Artifacts = Type.Object({
  files: Type.Array(Type.Object({ path: Type.String(), bytes: Type.Integer(), sha256: Type.String() })),
});

export const ModelVersion = Type.Object({
  name: Type.String(),
  version: Type.Integer(),
  stage: Type.String(),
  lineage: Type.Record(Type.String(), Type.String()),
});
export type ModelVersion = Static<typeof ModelVersion>;
export const ModelVersions = Type.Object({ items: Type.Array(ModelVersion) });
