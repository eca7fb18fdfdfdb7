import { expect, it } from 'vitest';
import type { SubscribeOptions, Subscription } from '#lib/bus/port.ts';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { systemClock } from '#lib/service/system-clock.ts';
import { registryWithThreeSteps } from '../../../test/support/three-steps.ts';
import { Engine } from './engine.ts';
import type { OrchestratorStore } from './store.ts';

const DISPATCHING = { topic: 'workers.events', partition: 0 };
const shard = (partition: number) => ({ topic: 'orchestrator.commands', partition });

/** An engine whose bus gives and takes partitions when the test says so, and whose database refuses some reads. */
async function engineWith(refused: { openWork: number; workers: number }) {
  let rebalance: SubscribeOptions['onRebalance'];
  const answer = async <T>(read: keyof typeof refused, value: T): Promise<T> => {
    if (refused[read]-- > 0) throw new Error('connection lost');
    return value;
  };
  const store = {
    claim: async (shards: readonly number[]) => new Map(shards.map((id) => [id, 1])),
    openWork: () => answer('openWork', { workflows: [], activities: [] }),
    workers: () => answer('workers', []),
  } as unknown as OrchestratorStore;
  const subscription = { poll: () => new Promise(() => undefined) } as unknown as Subscription;
  const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const engine = new Engine(
    {
      bus: {
        subscribe: async (options) => {
          rebalance = options.onRebalance;
          return subscription;
        },
      },
      store,
      codec: singleObjectCodec(),
      registry: registryWithThreeSteps(),
      clock: systemClock,
      log: quiet,
      owner: 'me',
    },
    {
      leases: { heartbeatTimeoutMs: 1_000, acceptTimeoutMs: 1_000, stallFactor: 5, stallFloorMs: 1_000 },
      heartbeatEveryMs: 100,
      workerTimeoutMs: 1_000,
      maxBatch: 10,
    },
  );
  await engine.start();
  return { engine, rebalance: async (change: Parameters<NonNullable<typeof rebalance>>[0]) => rebalance?.(change) };
}

// Found by the simulation: a dispatcher that had claimed a shard and could not read it gave the slots of that shard's attempts away again.
it.each(['openWork', 'workers'] as const)(
  'a take-over that fails half-way leaves its shards alone and places nothing; the next one is whole (%s refused)',
  async (read) => {
    const refused = { openWork: 0, workers: 0 };
    const { engine, rebalance } = await engineWith(refused);
    await rebalance({ assigned: [shard(0), DISPATCHING], revoked: [] });
    expect(engine.status()).toMatchObject({ partitions: [0], dispatcher: true });

    refused[read] = 1;
    await expect(rebalance({ assigned: [shard(4)], revoked: [] })).rejects.toThrow('connection lost');
    expect(engine.status()).toMatchObject({ partitions: [0], dispatcher: false });

    await rebalance({ assigned: [shard(4)], revoked: [] });
    expect(engine.status()).toMatchObject({ partitions: [0, 4], dispatcher: true });
  },
);

it('an orchestrator that loses the dispatcher partition places nothing any more', async () => {
  const { engine, rebalance } = await engineWith({ openWork: 0, workers: 0 });
  await rebalance({ assigned: [shard(0), DISPATCHING], revoked: [] });
  await rebalance({ assigned: [], revoked: [DISPATCHING] });
  expect(engine.status()).toMatchObject({ partitions: [0], dispatcher: false });
});
