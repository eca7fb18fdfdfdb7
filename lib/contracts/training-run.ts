import { type Static, Type } from '#typebox';
import { Technique } from './trainer-protocol.ts';

/** Beside the trained files of an activity that stores its own result: what the model registry is told later, by another worker. */
export const TRAINING_RUN_FILES = {
  /** A `TrainingRun`. */
  run: 'trainyard-run.json',
  /** One `{"name","step","value"}` a line. */
  curve: 'trainyard-curve.jsonl',
} as const;

/** How a stored model came about. */
export const TrainingRun = Type.Object(
  {
    format: Type.Literal('trainyard-run/1'),
    runId: Type.String({ minLength: 1 }),
    jobId: Type.String({ minLength: 1 }),
    activity: Type.String({ minLength: 1 }),
    /** Attempt that wrote the result. */
    epoch: Type.Integer({ minimum: 1 }),
    method: Type.Union([Type.Literal('reward'), Type.Literal('dpo'), Type.Literal('ppo')]),
    technique: Technique,
    steps: Type.Integer({ minimum: 0 }),
    /** Settings by name, as text. */
    params: Type.Record(Type.String(), Type.String()),
    /** Final metrics. */
    metrics: Type.Record(Type.String(), Type.Number()),
  },
  { additionalProperties: false },
);
export type TrainingRun = Static<typeof TrainingRun>;
