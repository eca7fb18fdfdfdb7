import { randomUUID } from 'node:crypto';
import { Gauge } from 'prom-client';
import type { Static } from '#typebox';
import { openMessaging } from '#lib/messaging/open.ts';
import { Database } from '#lib/postgres/database.ts';
import { untilMigrated } from '#lib/messaging/until-migrated.ts';
import { runService, type ServiceContext } from '#lib/service/lifecycle.ts';
import { systemClock } from '#lib/service/system-clock.ts';
import { PEERS_CHANNEL } from './adapters/commit-statement.ts';
import { PostgresOrchestratorStore } from './adapters/postgres-store.ts';
import { Engine } from './app/engine.ts';
import { OrchestratorConfig } from './config.ts';
import { PROFILES, workflowRegistry } from './domain/workflows/registry.ts';

type Config = Static<typeof OrchestratorConfig>;

await runService({ name: 'orchestrator', config: OrchestratorConfig, environment: process.env, start });

async function start(service: ServiceContext<Config>): Promise<void> {
  const { config, logger } = service;
  const database = new Database({ url: config.DATABASE_URL, applicationName: 'orchestrator', indexLookupsOnly: true });
  service.onStop('database', () => database.close());
  await untilMigrated(service, database);
  const { bus, codec } = await openMessaging(service, database, ['orchestrator', 'cpu-workers', 'gpu-workers']);

  const owner = `orchestrator-${randomUUID()}`;
  const store = new PostgresOrchestratorStore({ database, owner, bus });
  const engine = new Engine(
    {
      bus: store,
      store,
      codec,
      registry: workflowRegistry(profiles(config)),
      clock: systemClock,
      log: logger,
      owner,
    },
    {
      leases: {
        heartbeatTimeoutMs: config.HEARTBEAT_TIMEOUT_MS,
        acceptTimeoutMs: config.ACCEPT_TIMEOUT_MS,
        stallFactor: config.STALL_FACTOR,
        stallFloorMs: config.STALL_FLOOR_MS,
      },
      heartbeatEveryMs: config.HEARTBEAT_EVERY_MS,
      workerTimeoutMs: config.WORKER_TIMEOUT_MS,
      maxBatch: config.MAX_BATCH,
      ...(config.ORCHESTRATOR_ID === undefined ? {} : { instanceId: config.ORCHESTRATOR_ID }),
    },
  );
  await engine.start();
  service.onStop('engine', () => engine.stop());
  const peers = database.listen([PEERS_CHANNEL], (_, sender) => {
    if (sender !== owner) engine.peersChanged();
  });
  service.onStop('peers', () => peers.close());
  const gauge = (name: string, help: string, value: () => number): Gauge =>
    new Gauge({ name, help, registers: [service.metrics], collect() { this.set(value()); } }); // biome-ignore format: one line
  gauge('trainyard_queued_activities', 'Activities that wait for a slot', () => engine.status().queued);
  gauge('trainyard_leases', 'Attempts that hold a lease', () => engine.status().leases);
  gauge('trainyard_owned_partitions', 'Workflow partitions of this process', () => engine.status().partitions.length);
}

/** The factory's profiles with the times of the configuration. */
function profiles(config: Config): typeof PROFILES {
  return Object.fromEntries(
    Object.entries(PROFILES).map(([type, profile]) => [
      type,
      {
        ...profile,
        retry: { ...profile.retry, initialIntervalMs: config.RETRY_INITIAL_MS },
        executionTimeoutMs: config.EXECUTION_TIMEOUT_MS ?? profile.executionTimeoutMs,
      },
    ]),
  ) as typeof PROFILES;
}
