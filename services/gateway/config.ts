import { join, resolve } from 'node:path';
import { type Static, Type } from '#typebox';
import { MESSAGING_VARIABLES } from '#lib/messaging/variables.ts';
import { SERVICE_VARIABLES, VARIABLES } from '#lib/service/config.ts';

/** Environment of the gateway. */
export const GatewayConfig = Type.Object({
  ...SERVICE_VARIABLES,
  DATABASE_URL: VARIABLES.DATABASE_URL,
  ...MESSAGING_VARIABLES,
  OBJECT_STORE_URL: VARIABLES.OBJECT_STORE_URL,
  MODEL_REGISTRY_URL: VARIABLES.MODEL_REGISTRY_URL,
  MLFLOW_TRACKING_TOKEN: VARIABLES.MLFLOW_TRACKING_TOKEN,
  MLFLOW_TRACKING_USERNAME: VARIABLES.MLFLOW_TRACKING_USERNAME,
  MLFLOW_TRACKING_PASSWORD: VARIABLES.MLFLOW_TRACKING_PASSWORD,
  TRAINYARD_HOME: VARIABLES.TRAINYARD_HOME,
  CODE_COMMIT: VARIABLES.CODE_COMMIT,
  INFERENCE_URL: Type.Optional(
    Type.String({
      pattern: '^https?://',
      description: 'where GPU workers answer completions, e.g. http://gpu-worker:8090; absent: no completions',
    }),
  ),
  INFERENCE_TOKEN: VARIABLES.INFERENCE_TOKEN,
  GATEWAY_PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 8080, description: 'port of the REST interface' }),
  ADMIN_KEY_FILE: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        "the platform admin's key: adopted when it holds one, else written; default: admin.key in TRAINYARD_HOME",
    }),
  ),
  DATABASE_CONNECTIONS: Type.Integer({
    minimum: 2,
    maximum: 100,
    default: 8,
    description: 'connections to the database at most',
  }),
  RATE_LIMIT_PER_MINUTE: Type.Integer({
    minimum: 0,
    default: 6_000,
    description: 'requests per API key (or address, without a key) and minute; 0 switches the limit off',
  }),
  REQUEST_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 30_000,
    description: 'milliseconds a request may take, uploads and event streams excepted',
  }),
  UPLOAD_TIMEOUT_MS: Type.Integer({
    minimum: 1_000,
    default: 3_600_000,
    description: 'milliseconds the upload of a dataset version may take',
  }),
  DATASET_MAX_BYTES: Type.Integer({
    minimum: 1,
    default: 1_073_741_824,
    description: 'size of a dataset version at most, in bytes',
  }),
  GPU_SLOT_GFLOPS: Type.Number({
    exclusiveMinimum: 0,
    // Half of what the built-in trainer sustains on one core (31 to 45, measured), since an estimate should rather be too high.
    default: 16,
    description: 'sustained speed of one GPU slot in 10^9 operations a second, for the estimate of a job',
  }),
});
export type GatewayConfig = Static<typeof GatewayConfig>;

export const adminKeyPath = (config: GatewayConfig): string =>
  resolve(config.ADMIN_KEY_FILE ?? join(config.TRAINYARD_HOME, 'admin.key'));
