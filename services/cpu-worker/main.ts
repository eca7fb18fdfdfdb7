import { runService } from '#lib/service/lifecycle.ts';
import { startWorkerService } from '#lib/worker/worker-service.ts';
import { cpuActivities } from './app/activities.ts';
import { CpuWorkerConfig } from './config.ts';

await runService({
  name: 'cpu-worker',
  config: CpuWorkerConfig,
  environment: process.env,
  start: (service) =>
    startWorkerService(service, { lane: 'cpu', slots: service.config.CPU_SLOTS, activities: cpuActivities }),
});
