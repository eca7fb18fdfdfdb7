import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { type Codec, singleObjectCodec } from '#lib/contracts/codec.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { systemClock } from '#lib/service/system-clock.ts';
import type { Activity } from '#lib/worker/activity.ts';
import { Worker } from '#lib/worker/worker.ts';
import { PEERS_CHANNEL } from '../../services/orchestrator/adapters/commit-statement.ts';
import { PostgresOrchestratorStore } from '../../services/orchestrator/adapters/postgres-store.ts';
import { Engine } from '../../services/orchestrator/app/engine.ts';
import type { EngineSettings, Log } from '../../services/orchestrator/app/ports.ts';
import type { WorkflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import { openPlace, type Place, placeText } from './place.ts';
import { registryWithThreeSteps } from './three-steps.ts';

export const codec = singleObjectCodec();

/** Times short enough for tests: a lost worker is noticed within a second. */
const FAST: EngineSettings = {
  leases: { heartbeatTimeoutMs: 800, acceptTimeoutMs: 3_000, stallFactor: 10, stallFloorMs: 2_000 },
  heartbeatEveryMs: 150,
  workerTimeoutMs: 1_500,
  maxBatch: 1_000,
};

/** Short, and long enough for Kafka on two busy cores. */
const SESSION_TIMEOUT_MS = 2_000;

const quiet: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** One orchestrator: what main.ts builds, with a registry and times of the test's. */
export async function startEngine(
  place: Place,
  options: { registry?: WorkflowRegistry; settings?: Partial<EngineSettings>; log?: Log; now?: () => number } = {},
) {
  const { database, bus, codec, close: leave } = await openPlace(place, 'orchestrator', { indexLookupsOnly: true });
  const owner = `orchestrator-${randomUUID()}`;
  const store = new PostgresOrchestratorStore({ database, owner, bus });
  const engine = new Engine(
    {
      bus: { subscribe: (subscribe) => store.subscribe({ ...subscribe, sessionTimeoutMs: SESSION_TIMEOUT_MS }) },
      store,
      codec,
      registry: options.registry ?? registryWithThreeSteps(),
      clock: { ...systemClock, now: options.now ?? (() => systemClock.now()) },
      log: options.log ?? quiet,
      owner,
    },
    { ...FAST, ...options.settings },
  );
  await engine.start();
  const peers = database.listen([PEERS_CHANNEL], (_, sender) => {
    if (sender !== owner) engine.peersChanged();
  });
  const close = async (): Promise<void> => {
    await peers.close();
    await engine.stop();
    await leave();
  };
  return { engine, store, bus, codec, close };
}

/** A CPU or GPU worker with the given activities. */
export async function startWorker(
  place: Place,
  activities: Record<string, Activity['run']>,
  options: { lane?: 'cpu' | 'gpu'; slots?: number; workerId?: string } = {},
) {
  const { bus, codec, claims, close: leave } = await openPlace(place, 'worker');
  const worker = new Worker({
    workerId: options.workerId ?? `worker-${randomUUID().slice(0, 8)}`,
    incarnation: randomUUID(),
    lane: options.lane ?? 'cpu',
    slots: options.slots ?? 16,
    announceEveryMs: 300,
    bus,
    codec,
    claims,
    activities: Object.fromEntries(Object.entries(activities).map(([name, run]) => [name, { run }])),
    log: quiet,
    onBroken: (error) => {
      throw error;
    },
  });
  await worker.start();
  const close = async (): Promise<void> => {
    await worker.stop(2_000);
    await leave();
  };
  return { worker, bus, codec, close };
}

/** A fixture process that serves, and how to kill it with SIGKILL. Killed with the test at the latest. */
export async function startProcess(
  fixture: string,
  place: Place,
  ...args: string[]
): Promise<{ readonly pid: number; kill: () => Promise<void> }> {
  const child = fork(join(import.meta.dirname, 'fixtures', fixture), [placeText(place), ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(child, 'message');
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const dead = once(child, 'exit');
    child.kill('SIGKILL');
    await dead;
  };
  const { pid } = child;
  if (pid === undefined) throw new Error(`${fixture} was not started`);
  return { pid, kill };
}

/** The command that starts a workflow, as the gateway publishes it. */
export const startCommand = (
  workflowId: string,
  jobType = 'three_steps',
  input: unknown = { value: 1 },
  priority = 1,
  by: Codec = codec,
) =>
  encodeMessage(by, {
    topic: 'orchestrator.commands',
    key: workflowId,
    type: 'StartWorkflow',
    payload: {
      workflowId,
      jobId: `job-${workflowId}`,
      project: 'demo',
      jobType,
      priority,
      submittedAtMs: Date.now(),
      inputJson: JSON.stringify(input),
      parentJson: null,
      submittedBy: null,
    },
    envelope: { id: `start:${workflowId}`, source: '/test', timeMs: Date.now() },
  });

export const cancelCommand = (workflowId: string) =>
  encodeMessage(codec, {
    topic: 'orchestrator.commands',
    key: workflowId,
    type: 'CancelJob',
    payload: { workflowId, requestedBy: 'test', reason: null },
    envelope: { id: `cancel:${workflowId}:${randomUUID()}`, source: '/test', timeMs: Date.now() },
  });
