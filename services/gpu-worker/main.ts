import { join } from 'node:path';
import { type Environment } from '#lib/service/config.ts';
import { runService, type ServiceContext } from '#lib/service/lifecycle.ts';
import { startWorkerService } from '#lib/worker/worker-service.ts';
import { nvidiaDevices } from './adapters/devices.ts';
import { startTrainer, type TrainerCommand } from './adapters/trainer-process.ts';
import { openServing } from './adapters/open-serving.ts';
import { gpuActivities } from './app/activities.ts';
import { SlotPool } from './app/slot-pool.ts';
import { GpuWorkerConfig } from './config.ts';

/** What a training program may see of our environment: never an address of ours with a password. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'LANG',
  'TMPDIR',
  'LD_LIBRARY_PATH',
  'CUDA_HOME',
  'HF_HOME',
  'NODE_OPTIONS',
  'NODE_COMPILE_CACHE',
];

const BUILT_IN: TrainerCommand = [process.execPath, join(import.meta.dirname, 'trainer/main.ts')];

await runService({ name: 'gpu-worker', config: GpuWorkerConfig, environment: process.env, start });

async function start(service: ServiceContext<GpuWorkerConfig>): Promise<void> {
  const { config } = service;
  const devices = await nvidiaDevices();
  const slots = config.GPU_SLOTS ?? Math.max(1, devices.length);
  const pool = new SlotPool(
    devices.map((device) => device.index),
    slots,
  );
  const command = config.TRAINER_COMMAND === undefined ? BUILT_IN : parseCommand(config.TRAINER_COMMAND);
  const ours = passedOn(process.env);
  const platform = await startWorkerService(service, {
    lane: 'gpu',
    slots,
    devices: devices.length > 0 ? () => nvidiaDevices() : async () => [{ name: 'CPU', simulatedSlots: slots }],
    activities: (platform) =>
      gpuActivities({
        ...platform,
        startTrainer: (specPath, slot, onMessage) =>
          startTrainer(command, specPath, { environment: { ...ours, ...slot }, onMessage }),
        slots: pool,
        limits: { maxMemoryMib: config.TRAINER_MAX_MEMORY_MIB, threads: config.TRAINER_THREADS },
        yieldTimeoutMs: config.YIELD_TIMEOUT_MS,
      }),
  });
  await openServing(service, platform, ours);
}

function passedOn(environment: Environment): Record<string, string | undefined> {
  return Object.fromEntries(PASSED_ON.map((name) => [name, environment[name]]));
}

function parseCommand(json: string): TrainerCommand {
  const value: unknown = JSON.parse(json);
  if (Array.isArray(value) && value.length > 0 && value.every((part) => typeof part === 'string'))
    return value as [string, ...string[]];
  throw new Error('TRAINER_COMMAND: not a JSON array of strings');
}
