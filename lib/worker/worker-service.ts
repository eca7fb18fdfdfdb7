import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { Gauge } from 'prom-client';
import { type Static, Type } from '#typebox';
import type { TransactionalBus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { usesKafka } from '#lib/messaging/kafka-settings.ts';
import { openMessaging } from '#lib/messaging/open.ts';
import { untilMigrated } from '#lib/messaging/until-migrated.ts';
import { MESSAGING_VARIABLES } from '#lib/messaging/variables.ts';
import { artifactAddress } from '#lib/model-registry/artifact-address.ts';
import { mlflowCredentials } from '#lib/model-registry/mlflow-address.ts';
import { openModelRegistry } from '#lib/model-registry/open.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import { openObjectStore } from '#lib/object-store/open.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import { Database } from '#lib/postgres/database.ts';
import { SERVICE_VARIABLES, VARIABLES } from '#lib/service/config.ts';
import type { ServiceContext } from '#lib/service/lifecycle.ts';
import { sayUntilReached } from '#lib/service/until-reachable.ts';
import type { Activity } from './activity.ts';
import { PostgresAttemptClaims } from './attempt-claims.ts';
import type { WaitClock } from './patience.ts';
import { waitingForStore } from './store-wait.ts';
import { Worker } from './worker.ts';

/** What every worker reads from its environment. */
export const WORKER_VARIABLES = {
  ...SERVICE_VARIABLES,
  DATABASE_URL: VARIABLES.DATABASE_URL,
  ...MESSAGING_VARIABLES,
  OBJECT_STORE_URL: VARIABLES.OBJECT_STORE_URL,
  MODEL_REGISTRY_URL: VARIABLES.MODEL_REGISTRY_URL,
  MLFLOW_TRACKING_TOKEN: VARIABLES.MLFLOW_TRACKING_TOKEN,
  MLFLOW_TRACKING_USERNAME: VARIABLES.MLFLOW_TRACKING_USERNAME,
  MLFLOW_TRACKING_PASSWORD: VARIABLES.MLFLOW_TRACKING_PASSWORD,
  WORKSPACE_DIR: VARIABLES.WORKSPACE_DIR,
  WORKER_ID: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._-]{1,128}$',
      description: 'name of this worker, stable over restarts; default: lane and host',
    }),
  ),
  ANNOUNCE_EVERY_MS: Type.Integer({
    minimum: 50,
    maximum: 600_000,
    default: 5_000,
    description: 'how often capacity is announced',
  }),
  WORKSPACE_MARGIN_BYTES: Type.Integer({
    minimum: 0,
    default: 268_435_456,
    description: 'bytes that must stay free in the workspace besides the files of a job',
  }),
} as const;

const WorkerConfig = Type.Object(WORKER_VARIABLES);
export type WorkerConfig = Static<typeof WorkerConfig>;

/** What activities work with. */
export interface WorkerPlatform {
  readonly store: ObjectStore;
  readonly registry: ModelRegistry;
  /** Root of all workspaces of this node. */
  readonly workspaceDir: string;
  readonly workspaceMarginBytes: number;
  readonly log: ServiceContext<WorkerConfig>['logger'];
  /** For tests; default: the machine's. */
  readonly clock?: WaitClock;
}

/** What was opened for a worker service; closed when the service stops. */
export interface OpenedWorker extends WorkerPlatform {
  readonly database: Database;
  readonly bus: TransactionalBus;
  readonly codec: Codec;
}

/** Opens what WORKER_VARIABLES name and runs a worker of the lane until the service stops. Returns what it opened. */
export async function startWorkerService(
  service: ServiceContext<WorkerConfig>,
  lane: {
    readonly lane: 'cpu' | 'gpu';
    readonly slots: number;
    readonly devices?: () => Promise<unknown>;
    /** `database`: for what is neither in the store nor in the registry, the promotion ledger. */
    readonly activities: (platform: WorkerPlatform, database: Database) => Readonly<Record<string, Activity>>;
  },
): Promise<OpenedWorker> {
  const { config, logger } = service;
  const database = new Database({ url: config.DATABASE_URL, applicationName: `${lane.lane}-worker` });
  service.onStop('database', () => database.close());
  await untilMigrated(service, database);
  const { bus, codec } = await openMessaging(service, database);
  const store = openObjectStore(config.OBJECT_STORE_URL);
  sayUntilReached(service, { name: 'object store', variable: 'OBJECT_STORE_URL' }, () => store.check());
  const registry = openModelRegistry(config.MODEL_REGISTRY_URL, {
    database,
    credentials: mlflowCredentials(config),
    artifactUri: artifactAddress(config.OBJECT_STORE_URL),
  });
  sayUntilReached(service, { name: 'model registry', variable: 'MODEL_REGISTRY_URL' }, () => registry.check());
  await mkdir(config.WORKSPACE_DIR, { recursive: true });

  const platform: WorkerPlatform = {
    store,
    registry,
    workspaceDir: config.WORKSPACE_DIR,
    workspaceMarginBytes: config.WORKSPACE_MARGIN_BYTES,
    log: logger,
  };
  const worker = new Worker({
    workerId: config.WORKER_ID ?? `${lane.lane}-${hostname()}`,
    incarnation: randomUUID(),
    lane: lane.lane,
    slots: lane.slots,
    announceEveryMs: config.ANNOUNCE_EVERY_MS,
    bus,
    codec,
    claims: usesKafka(config) ? new PostgresAttemptClaims(database) : null,
    ...(lane.devices === undefined ? {} : { devices: lane.devices }),
    activities: Object.fromEntries(
      Object.entries(lane.activities(platform, database)).map(([name, activity]) => [
        name,
        waitingForStore(activity, platform),
      ]),
    ),
    log: logger,
    onBroken: (error) => service.fail(error),
  });
  await worker.start();
  service.onStop('worker', () => worker.stop(config.STOP_TIMEOUT_MS * ATTEMPTS_SHARE_OF_STOP));
  new Gauge({
    name: 'trainyard_running_attempts',
    help: 'Attempts this worker runs now',
    registers: [service.metrics],
    collect() {
      this.set(worker.running);
    },
  });
  return { ...platform, database, bus, codec };
}

/** The rest of the stop's time is for publishing the last events and leaving the groups. */
const ATTEMPTS_SHARE_OF_STOP = 0.75;
