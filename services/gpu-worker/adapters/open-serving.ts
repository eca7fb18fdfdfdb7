import { setTimeout as delay } from 'node:timers/promises';
import { Gauge } from 'prom-client';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import type { ServiceContext } from '#lib/service/lifecycle.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import type { GpuWorkerConfig } from '../config.ts';
import { ServedFolders } from '../app/served-folders.ts';
import { openInferenceDoor } from './inference-door.ts';
import { ServingProcess } from './serving-process.ts';

/** Between two tries to open a port that another program holds. */
const RETRY_MS = 1_000;

const LOOPBACK = /^(?:127(?:\.\d+){3}|::1|localhost)$/;

/**
 * Opens the door for completions when INFERENCE_PORT asks for it, until the service stops. A port that is taken is waited for: training goes on
 * meanwhile. Throws `ValidationFailed` for a door that the network could reach without a token.
 */
export async function openServing(
  service: ServiceContext<GpuWorkerConfig>,
  platform: WorkerPlatform,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const { config, logger, signal } = service;
  const { INFERENCE_PORT: port, INFERENCE_TOKEN: token, HOST: host } = config;
  if (port === undefined) return;
  if (token === undefined && !LOOPBACK.test(host)) {
    const message = `is required when HOST is ${host}: whoever reaches the port could ask any model`;
    throw new TrainyardError('ValidationFailed', `INFERENCE_TOKEN ${message}`, {
      fields: [{ pointer: '/INFERENCE_TOKEN', message }],
    });
  }
  const process = new ServingProcess({
    environment,
    models: config.INFERENCE_MODELS,
    threads: config.TRAINER_THREADS,
    idleMs: config.INFERENCE_IDLE_MS,
  });
  service.onStop('serving process', () => process.close());
  new Gauge({
    name: 'trainyard_serving_process',
    help: '1 while the serving process runs',
    registers: [service.metrics],
    collect() {
      this.set(process.pid === null ? 0 : 1);
    },
  });
  const options = { host, port, token: token ?? null, folders: new ServedFolders(platform), process, log: logger };
  const opening = (async () => {
    while (!signal.aborted) {
      try {
        const door = await openInferenceDoor(options);
        logger.info({ port: door.port }, 'inference door listens');
        return door;
      } catch (error) {
        logger.warn({ reason: messageOf(error) }, 'inference door not open, trying again');
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
    return null;
  })();
  service.onStop('inference door', async () => (await opening)?.close());
}
