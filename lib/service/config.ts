import { type Static, type TObject, type TSchema, Type } from '#typebox';
import { Value } from '#typebox/value';

export type Environment = Readonly<Record<string, string | undefined>>;

/** One or more environment variables are missing or malformed; the message has a line for each. The process exits with 78. */
export class ConfigError extends Error {
  readonly variables: readonly string[];
  constructor(problems: readonly { variable: string; problem: string }[]) {
    super(problems.map(({ variable, problem }) => `${variable}: ${problem}`).join('\n'));
    this.name = 'ConfigError';
    this.variables = problems.map(({ variable }) => variable);
  }
}

/**
 * Reads the variables that `schema` names; others are ignored, empty counts as absent. Numbers must be decimal, booleans 0, 1, true or false.
 * Throws `ConfigError`, which names every wrong variable with its description and never shows a value (it may be a secret).
 */
export function readConfig<const T extends TObject>(schema: T, environment: Environment): Static<T> {
  const values: Record<string, unknown> = {};
  for (const [variable, member] of Object.entries(schema.properties)) {
    const text = environment[variable];
    if (text !== undefined && text !== '') values[variable] = convert(member, text);
  }
  const filled = Value.Default(schema, values) as Record<string, unknown>;
  const problems = Object.entries(schema.properties).flatMap(([variable, member]) => {
    const problem = problemOf(member, filled[variable], schema.required?.includes(variable) ?? false);
    return problem === null ? [] : [{ variable, problem }];
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return filled as Static<T>;
}

function convert(schema: TSchema, text: string): unknown {
  const { type } = schema as { type?: string };
  if ((type === 'integer' || type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (type === 'boolean')
    return text === '1' || text === 'true' ? true : text === '0' || text === 'false' ? false : text;
  return text;
}

function problemOf(schema: TSchema, value: unknown, required: boolean): string | null {
  const { description } = schema as { description?: string };
  const meaning = description === undefined ? '' : ` (${description})`;
  if (value === undefined) return required ? `is missing${meaning}` : null;
  const [error] = Value.Errors(schema, value);
  if (error === undefined) return null;
  const { allowed } = allowedOf(schema);
  return `${allowed === null ? error.message : `must be one of ${allowed.join(', ')}`}${meaning}`;
}

function allowedOf(schema: TSchema): { allowed: string[] | null } {
  const { anyOf } = schema as { anyOf?: { const?: unknown }[] };
  return { allowed: anyOf?.every((member) => member.const !== undefined) ? anyOf.map((m) => String(m.const)) : null };
}

/** Variables that mean the same in every service. A service's `config.ts` picks the ones it reads. */
export const VARIABLES = {
  DATABASE_URL: Type.String({
    pattern: '^postgres(?:ql)?://',
    description: 'PostgreSQL 15 or newer, e.g. postgresql://user:password@host:5432/trainyard',
  }),
  BUS_URL: Type.String({
    pattern: '^(?:postgres:|kafka://)',
    default: 'postgres:',
    description: 'message bus: `postgres:` (the database) or kafka://host:9092',
  }),
  OBJECT_STORE_URL: Type.String({
    pattern: '^(?:file:///|s3://)',
    description: 'where datasets, checkpoints and artifacts are stored: file:///folder or s3://bucket/prefix',
  }),
  MODEL_REGISTRY_URL: Type.String({
    pattern: '^(?:postgres:|mlflow\\+https?://)',
    default: 'postgres:',
    description: 'model registry: `postgres:` (built in) or mlflow+http://host:5000, optionally with ?namespace=name',
  }),
  MLFLOW_TRACKING_TOKEN: Type.Optional(
    Type.String({ minLength: 1, description: 'bearer token for MLflow; wins over user and password' }),
  ),
  MLFLOW_TRACKING_USERNAME: Type.Optional(
    Type.String({ minLength: 1, description: 'user for MLflow; wins over the one in MODEL_REGISTRY_URL' }),
  ),
  MLFLOW_TRACKING_PASSWORD: Type.Optional(Type.String({ minLength: 1, description: 'password of that user' })),
  TRAINYARD_HOME: Type.String({ minLength: 1, default: '.trainyard', description: 'folder of the local platform' }),
  WORKSPACE_DIR: Type.String({ minLength: 1, description: 'folder in which workers keep the files of running jobs' }),
  INFERENCE_TOKEN: Type.Optional(
    Type.String({
      minLength: 16,
      description: 'shared secret of gateway and GPU worker for completions; may be absent on loopback only',
    }),
  ),
  CODE_COMMIT: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'commit written into the lineage; default: the checkout, else the version',
    }),
  ),
} as const;

/** What `runService` itself reads; part of every service's schema. */
export const SERVICE_VARIABLES = {
  HOST: Type.String({ minLength: 1, default: '127.0.0.1', description: 'address on which the HTTP servers listen' }),
  HEALTH_PORT: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 65_535,
      description: 'port of /healthz, /readyz and /metrics; absent: no such server',
    }),
  ),
  LOG_LEVEL: Type.Union(
    [
      Type.Literal('trace'),
      Type.Literal('debug'),
      Type.Literal('info'),
      Type.Literal('warn'),
      Type.Literal('error'),
      Type.Literal('fatal'),
    ],
    { default: 'info', description: 'least level that is logged' },
  ),
  STOP_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    // Below the supervisor's 10 s, so that a service that hangs says what hung before it is killed.
    default: 8_000,
    description: 'milliseconds a stop may take before the process exits anyway',
  }),
  SUPERVISED: Type.Boolean({
    default: false,
    description: '1: started by a supervisor that holds our stdin open; when it closes, stop',
  }),
} as const;

const ServiceConfig = Type.Object(SERVICE_VARIABLES);
export type ServiceConfig = Static<typeof ServiceConfig>;
