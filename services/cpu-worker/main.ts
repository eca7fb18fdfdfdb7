import { messageOf } from '#lib/kernel/errors.ts';
import { PostgresPromotionLedger } from '#lib/promotion/postgres-ledger.ts';
import { runService } from '#lib/service/lifecycle.ts';
import { startWorkerService } from '#lib/worker/worker-service.ts';
import { cpuActivities } from './app/activities.ts';
import { keepHouse } from './app/housekeeping.ts';
import { keepRegistryInLine } from './app/promotion-sync.ts';
import { publishTraffic } from './app/traffic-publication.ts';
import { CpuWorkerConfig, trafficWebhook } from './config.ts';

const HOUR_MS = 3_600_000;

await runService({
  name: 'cpu-worker',
  config: CpuWorkerConfig,
  environment: process.env,
  start: async (service) => {
    const { config, logger } = service;
    const webhook = trafficWebhook(config);
    const platform = await startWorkerService(service, {
      lane: 'cpu',
      slots: config.CPU_SLOTS,
      activities: (opened, database) => cpuActivities(opened, new PostgresPromotionLedger(database)),
    });
    const tidy = (): void => {
      keepHouse(platform, config.WORKSPACE_RETENTION_HOURS * HOUR_MS, Date.now()).then(
        (report) => logger.info({ ...report }, 'workspace and object store tidied'),
        (error: unknown) => logger.warn({ reason: messageOf(error) }, 'not tidied, trying again in an hour'),
      );
    };
    const timer = setInterval(tidy, HOUR_MS);
    service.onStop('housekeeping', () => clearInterval(timer));
    const ledger = new PostgresPromotionLedger(platform.database);
    const inLine = keepRegistryInLine({ ledger, registry: platform.registry, log: logger }, service.signal);
    service.onStop('promotion sync', () => inLine);
    const published = publishTraffic({ ...platform, log: logger }, webhook, service.signal);
    service.onStop('traffic publication', () => published);
  },
});
