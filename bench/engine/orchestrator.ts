// The orchestrator of the engine benchmarks, in a process of its own: what main.ts builds, with the benchmarks' workflows.
import { startEngine } from '../../test/support/engine-harness.ts';
import type { Place } from '../../test/support/place.ts';
import { programArgument, serve } from '../support/processes.ts';
import { benchRegistry } from './bench-workflows.ts';

const { place, maxBatch } = programArgument<{ place: Place; maxBatch: number }>();
const { close } = await startEngine(place, {
  registry: benchRegistry(),
  settings: {
    leases: { heartbeatTimeoutMs: 300_000, acceptTimeoutMs: 60_000, stallFactor: 20, stallFloorMs: 900_000 },
    heartbeatEveryMs: 60_000,
    workerTimeoutMs: 60_000,
    maxBatch,
  },
  log: {
    info: () => undefined,
    warn: (fields, message) => console.error(message, fields),
    error: (fields, message) => console.error(message, fields),
  },
});
serve(close);
