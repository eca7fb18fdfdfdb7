import { type Static, type TSchema, Type } from '#typebox';
import { Value } from '#typebox/value';
import { TrainyardError } from '#lib/kernel/errors.ts';

/*
 * What MLflow answers, as far as we read it. Ids are strings, times are numbers, and empty lists are left out (measured on 3.17.2).
 */

const Tag = Type.Object({ key: Type.String(), value: Type.String() });

export const ModelVersionInfo = Type.Object({
  version: Type.String({ pattern: '^[0-9]+$' }),
  /** Epoch milliseconds. */
  creation_timestamp: Type.Number(),
  tags: Type.Optional(Type.Array(Tag)),
});
export type ModelVersionInfo = Static<typeof ModelVersionInfo>;

export const ModelVersionAnswer = Type.Object({ model_version: ModelVersionInfo });
export const ModelVersionsAnswer = Type.Object({
  model_versions: Type.Optional(Type.Array(ModelVersionInfo)),
  next_page_token: Type.Optional(Type.String()),
});
export const RegisteredModelAnswer = Type.Object({
  registered_model: Type.Object({
    aliases: Type.Optional(Type.Array(Type.Object({ alias: Type.String(), version: Type.String() }))),
  }),
});

export const ExperimentCreatedAnswer = Type.Object({ experiment_id: Type.String() });
export const ExperimentAnswer = Type.Object({
  experiment: Type.Object({ experiment_id: Type.String(), lifecycle_stage: Type.String() }),
});

export const Run = Type.Object({
  info: Type.Object({ run_id: Type.String(), status: Type.String() }),
  data: Type.Object({
    /** The point of the highest step of each metric. */
    metrics: Type.Optional(Type.Array(Type.Object({ key: Type.String(), step: Type.Optional(Type.Number()) }))),
    params: Type.Optional(Type.Array(Tag)),
    tags: Type.Optional(Type.Array(Tag)),
  }),
});
export type Run = Static<typeof Run>;

export const RunAnswer = Type.Object({ run: Run });
export const RunsAnswer = Type.Object({ runs: Type.Optional(Type.Array(Run)) });

/** One logged point; a step that was logged again is there more than once. */
export const MetricEntry = Type.Object({
  value: Type.Number(),
  timestamp: Type.Number(),
  step: Type.Optional(Type.Number()),
});
export type MetricEntry = Static<typeof MetricEntry>;
export const HistoryAnswer = Type.Object({
  metrics: Type.Optional(Type.Array(MetricEntry)),
  next_page_token: Type.Optional(Type.String()),
});

/** The answer as the schema has it. `RegistryUnavailable` when it is something else: another program or release answers there. */
export function read<const T extends TSchema>(schema: T, answer: unknown): Static<T> {
  if (Value.Check(schema, answer)) return answer;
  const [error] = Value.Errors(schema, answer);
  const where = `${error?.instancePath ?? '/'}: ${error?.message ?? ''}`;
  throw new TrainyardError('RegistryUnavailable', `MLflow answers in a form that is not known here, at ${where}`);
}
