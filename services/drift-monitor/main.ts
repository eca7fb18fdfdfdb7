import { Counter } from 'prom-client';
import type { Static } from 'typebox';
import { openMessaging } from '#lib/messaging/open.ts';
import { untilMigrated } from '#lib/messaging/until-migrated.ts';
import { Database } from '#lib/postgres/database.ts';
import { runService, type ServiceContext } from '#lib/service/lifecycle.ts';
import { PostgresObservations } from './adapters/postgres-observations.ts';
import { takeIn } from './app/intake.ts';
import { DriftMonitorConfig } from './config.ts';

/** Observations of one transaction at most. */
const MAX_BATCH = 1_000;

/** Wait before another try when the database cannot be reached. */
const RETRY_MS = 500;

await runService({ name: 'drift-monitor', config: DriftMonitorConfig, environment: process.env, start });

async function start(service: ServiceContext<Static<typeof DriftMonitorConfig>>): Promise<void> {
  const { config, logger, signal } = service;
  const database = new Database({ url: config.DATABASE_URL, applicationName: 'drift-monitor' });
  service.onStop('database', () => database.close());
  await untilMigrated(service, database);
  const { bus, codec } = await openMessaging(service, database, ['drift-monitor']);

  const subscription = await bus.subscribe({
    groupId: 'drift-monitor',
    topics: ['production.observations'],
    from: 'beginning',
    sessionTimeoutMs: 6_000,
  });
  const ports = { codec, store: new PostgresObservations(database, bus), subscription };
  const observations = new Counter({
    name: 'trainyard_observations_total',
    help: 'Production observations by outcome',
    labelNames: ['outcome'],
    registers: [service.metrics],
  });
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        const messages = await subscription.poll({ maxMessages: MAX_BATCH, maxWaitMs: 1_000 });
        if (messages.length === 0) continue;
        const counts = await takeIn(ports, messages, Date.now());
        for (const [outcome, count] of Object.entries(counts)) observations.inc({ outcome }, count as number);
      } catch (error) {
        logger.warn({ err: error }, 'batch not stored, taking it again');
        await subscription.rewind().catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  };
  const running = loop();
  running.catch((error: unknown) => service.fail(error));
  service.onStop('intake', async () => {
    subscription.wake();
    await running;
    await subscription.close();
  });
}
