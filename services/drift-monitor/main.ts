import type { Static } from '#typebox';
import { openMessaging } from '#lib/messaging/open.ts';
import { untilMigrated } from '#lib/messaging/until-migrated.ts';
import { Database } from '#lib/postgres/database.ts';
import { runService, type ServiceContext } from '#lib/service/lifecycle.ts';
import { startIntake } from './adapters/intake-loop.ts';
import { PostgresDriftStore } from './adapters/postgres-drift-store.ts';
import { runCanaryWatch } from './adapters/run-canary-watch.ts';
import { startUpkeep } from './adapters/upkeep-loop.ts';
import { DriftMonitorConfig } from './config.ts';

await runService({ name: 'drift-monitor', config: DriftMonitorConfig, environment: process.env, start });

async function start(service: ServiceContext<Static<typeof DriftMonitorConfig>>): Promise<void> {
  const { config } = service;
  const database = new Database({
    url: config.DATABASE_URL,
    applicationName: 'drift-monitor',
    // Its statements look up short lists of ids in a large table, and are planned while that is empty.
    indexLookupsOnly: true,
  });
  service.onStop('database', () => database.close());
  await untilMigrated(service, database);
  const { bus, codec } = await openMessaging(service, database, ['drift-monitor']);

  const store = new PostgresDriftStore(database, bus);
  const intake = await startIntake(
    bus,
    { codec, store },
    { observationsPerWindow: config.OBSERVATIONS_PER_WINDOW },
    service,
  );
  intake.ended.catch((error: unknown) => service.fail(error));
  service.onStop('intake', () => intake.stop());

  const upkeep = startUpkeep(
    { codec, store, database },
    { observationRetentionMs: config.OBSERVATION_RETENTION_MS },
    service,
  );
  upkeep.ended.catch((error: unknown) => service.fail(error));
  service.onStop('upkeep', () => upkeep.stop());

  await runCanaryWatch(service, database, bus, codec);
}
