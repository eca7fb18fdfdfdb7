// The orchestrator of the engine benchmark, in a process of its own: main.ts with the registry of the three-step workflow.
import { startEngine } from '../../test/support/engine-harness.ts';
import { registryWithThreeSteps } from '../../test/support/three-steps.ts';
import { argument, ready } from './process.ts';

const { close } = await startEngine(argument(0), {
  registry: registryWithThreeSteps(),
  settings: {
    leases: { heartbeatTimeoutMs: 300_000, acceptTimeoutMs: 60_000, stallFactor: 20, stallFloorMs: 900_000 },
    heartbeatEveryMs: 60_000,
    workerTimeoutMs: 60_000,
    maxBatch: Number(argument(1)),
  },
  log: {
    info: () => undefined,
    warn: (fields, message) => console.error(message, fields),
    error: (fields, message) => console.error(message, fields),
  },
});
ready(close);
