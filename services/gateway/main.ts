import { Counter } from 'prom-client';
import type { TransactionalBus } from '#lib/bus/port.ts';
import { openMessaging } from '#lib/messaging/open.ts';
import { untilMigrated } from '#lib/messaging/until-migrated.ts';
import { artifactAddress } from '#lib/model-registry/artifact-address.ts';
import { mlflowCredentials } from '#lib/model-registry/mlflow-address.ts';
import { openModelRegistry } from '#lib/model-registry/open.ts';
import { openObjectStore } from '#lib/object-store/open.ts';
import { Database } from '#lib/postgres/database.ts';
import { codeCommit } from '#lib/service/code-commit.ts';
import { runService, type ServiceContext } from '#lib/service/lifecycle.ts';
import { sayUntilReached } from '#lib/service/until-reachable.ts';
import { adminKeyFile } from './adapters/admin-key-file.ts';
import { assembleGateway } from './adapters/assemble.ts';
import type { HttpServices } from './adapters/http/app-types.ts';
import { buildServer } from './adapters/http/server.ts';
import { PostgresJobStore } from './adapters/postgres/job-store.ts';
import { startIngress } from './adapters/ingress-loop.ts';
import { PostgresRetrainStore } from './adapters/postgres/retrain-store.ts';
import { startRetrains } from './adapters/retrain-loop.ts';
import { ensureAdminKey } from './app/api-keys.ts';
import { adminKeyPath, GatewayConfig } from './config.ts';

await runService({ name: 'gateway', config: GatewayConfig, environment: process.env, start });

async function start(service: ServiceContext<GatewayConfig>): Promise<void> {
  const { config, logger, readiness, metrics } = service;

  // 1. What stands behind it.
  const database = new Database({
    url: config.DATABASE_URL,
    applicationName: 'gateway',
    maxConnections: config.DATABASE_CONNECTIONS,
  });
  service.onStop('database', () => database.close());
  await untilMigrated(service, database);
  const { bus, codec } = await openMessaging(service, database, ['gateway-ingress', 'gateway-retrain']);
  const { objects, registry } = openStores(service, database);

  // 2. The gateway itself.
  const services = assembleGateway({
    database,
    bus,
    codec,
    registry,
    objects,
    codeCommit: await codeCommit(config.CODE_COMMIT),
    slotSpeed: { gflops: config.GPU_SLOT_GFLOPS },
    limits: {
      requestsPerMinute: config.RATE_LIMIT_PER_MINUTE,
      requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
      uploadTimeoutMs: config.UPLOAD_TIMEOUT_MS,
      datasetMaxBytes: config.DATASET_MAX_BYTES,
      heartbeatMs: 15_000,
    },
    readiness,
    metrics,
    logger,
    inference: { url: config.INFERENCE_URL, token: config.INFERENCE_TOKEN },
  });
  service.onStop('completions', () => services.completions.close());
  const keyFile = adminKeyPath(config);
  if (await ensureAdminKey(services.keys, adminKeyFile(keyFile), Date.now()))
    logger.info({ file: keyFile }, 'platform admin key stored');

  // 3. The door for systems.
  await openIngress(service, services, bus);
  const retrains = await startRetrains(
    bus,
    { gateway: services.gateway, retrains: new PostgresRetrainStore(database) },
    service,
  );
  retrains.ended.catch((error: unknown) => service.fail(error));
  service.onStop('retrain signals', () => retrains.stop());

  // 4. The door for people, opened last. Event streams end first, or the server would wait for them.
  const server = await buildServer(services);
  service.onStop('http server', () => server.close());
  service.onStop('event streams', () => services.tail.close());
  const address = await server.listen({ host: config.HOST, port: config.GATEWAY_PORT });
  logger.info({ address }, 'gateway listens');
}

/** Records of `jobs.requests`, taken until the service stops. */
async function openIngress(
  service: ServiceContext<GatewayConfig>,
  services: HttpServices,
  bus: TransactionalBus,
): Promise<void> {
  const { config, logger, metrics } = service;
  const requests = new Counter({
    name: 'trainyard_job_requests_total',
    help: 'Records of jobs.requests by outcome: accepted, repeated, rejected, unreadable.',
    labelNames: ['outcome'],
    registers: [metrics],
  });
  // Its statements look up short lists in large tables, and are planned while those are empty.
  const lookups = new Database({
    url: config.DATABASE_URL,
    applicationName: 'gateway-ingress',
    maxConnections: 2,
    indexLookupsOnly: true,
  });
  service.onStop('database of the ingress', () => lookups.close());
  const ingress = await startIngress(
    bus,
    {
      gateway: { ...services.gateway, jobs: new PostgresJobStore(lookups, bus) },
      identify: (key) => services.authenticator.identify(key),
      approvals: services.approvals,
    },
    { logger, count: (outcome, n) => requests.inc({ outcome }, n) },
  );
  ingress.ended.catch((error: unknown) => service.fail(error));
  service.onStop('ingress', () => ingress.stop());
}

/** Neither is needed to start: requests that need one that is away say so. */
function openStores(service: ServiceContext<GatewayConfig>, database: Database) {
  const { config } = service;
  const objects = openObjectStore(config.OBJECT_STORE_URL);
  const registry = openModelRegistry(config.MODEL_REGISTRY_URL, {
    database,
    credentials: mlflowCredentials(config),
    artifactUri: artifactAddress(config.OBJECT_STORE_URL),
  });
  sayUntilReached(service, { name: 'objectStore', variable: 'OBJECT_STORE_URL' }, () => objects.check());
  sayUntilReached(service, { name: 'modelRegistry', variable: 'MODEL_REGISTRY_URL' }, () => registry.check());
  return { objects, registry };
}
