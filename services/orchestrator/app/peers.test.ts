import { expect, it } from 'vitest';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { systemClock } from '#lib/service/system-clock.ts';
import { registryWithThreeSteps } from '../../../test/support/three-steps.ts';
import { Announcements } from './announcements.ts';
import { Batch } from './batch.ts';
import { Decider } from './decider.ts';
import { Dispatcher } from './dispatcher.ts';
import { Heartbeats } from './heartbeats.ts';
import { Peers } from './peers.ts';
import type { EnginePorts, EngineSettings } from './ports.ts';
import { ShardMemory } from './shard.ts';
import type { OpenWork, OrchestratorStore } from './store.ts';

const leases = { heartbeatTimeoutMs: 1_000, acceptTimeoutMs: 1_000, stallFactor: 5, stallFloorMs: 1_000 };
const settings: EngineSettings = { leases, heartbeatEveryMs: 100, workerTimeoutMs: 10_000, maxBatch: 10 };
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Peers of an orchestrator that owns no partition, on a store that answers one question. */
function peersOn(openWork: () => Promise<OpenWork>): Peers {
  const registry = registryWithThreeSteps();
  const store = { openWork } as unknown as OrchestratorStore;
  const codec = singleObjectCodec();
  const announce = new Announcements(codec);
  const memory = new ShardMemory(store, registry);
  const bus = { subscribe: () => Promise.reject(new Error('not here')) };
  const ports: EnginePorts = { bus, store, codec, registry, clock: systemClock, log: quiet, owner: 'me' };
  return new Peers(
    ports,
    memory,
    new Decider(registry, memory, announce),
    new Heartbeats(memory, announce, leases),
    settings,
  );
}

// Found by the simulation: a placement for another orchestrator, not committed yet, was forgotten, and its slot given away twice.
it('the dispatcher reads the others’ rows only after the batch before was committed', async () => {
  let reads = 0;
  const peers = peersOn(async () => {
    reads += 1;
    return { workflows: [], activities: [] };
  });
  const committed = Promise.withResolvers<void>();
  const dispatcher = new Dispatcher({ workerTimeoutMs: 10_000 });
  peers.notify();
  const running = peers.run({ batch: new Batch(1_000), dispatcher, nowMs: 1_000 }, committed.promise);
  await systemClock.turn();
  expect(reads).toBe(0);
  committed.resolve();
  await running;
  expect(reads).toBe(1);
});

it('a batch before that could not be committed does not stop it: the turn is thrown away by whoever waits for that commit', async () => {
  const peers = peersOn(async () => ({ workflows: [], activities: [] }));
  peers.notify();
  const context = { batch: new Batch(1_000), dispatcher: new Dispatcher({ workerTimeoutMs: 10_000 }), nowMs: 1_000 };
  await expect(peers.run(context, Promise.reject(new Error('fenced')))).resolves.toBeUndefined();
});
