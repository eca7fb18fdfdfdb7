import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { type RunningKafka, startKafka } from '../../scripts/peers/kafka.ts';
import { killAfterEveryEvent } from '../support/crash-points.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startCommand, startEngine, startWorker } from '../support/engine-harness.ts';
import { eventually } from '../support/eventually.ts';
import { addressOf, peer } from '../support/peers/peer.ts';
import { type KafkaPlace, openPlace, prepareKafkaPlace } from '../support/place.ts';
import { decidedTwice, workflowsDone } from '../support/log-queries.ts';

const kafka = await peer('kafka');
const registry = await peer('registry');

let db: TestDatabase;
let place: KafkaPlace;
const open: (() => Promise<void>)[] = [];
const keep = <T extends { close: () => Promise<void> }>(thing: T): T => {
  open.push(thing.close);
  return thing;
};

async function newPlace(brokers: readonly string[]): Promise<KafkaPlace> {
  const made = {
    databaseUrl: db.url,
    busUrl: `kafka://${brokers.join(',')}`,
    registryUrl: addressOf(registry).url,
    prefix: `test-${randomBytes(6).toString('hex')}.`,
  };
  await prepareKafkaPlace(made);
  return made;
}

const done = (prefix: string): Promise<number> => workflowsDone(db.database, prefix);
const doubled = (prefix: string): Promise<unknown[]> => decidedTwice(db.database, prefix);

/** Activities of 20 ms that count how often each was run. */
function counted(): { runs: Map<string, number>; activities: Parameters<typeof startWorker>[1] } {
  const runs = new Map<string, number>();
  const run = (name: string) => async (context: { workflowId: string }) => {
    const key = `${context.workflowId}/${name}`;
    runs.set(key, (runs.get(key) ?? 0) + 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return null;
  };
  return { runs, activities: { first: run('first'), second: run('second'), third: run('third') } };
}

beforeEach(async () => {
  db = await createTestDatabase();
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  await db.drop();
});

describe.skipIf(!kafka.available || !registry.available)('the orchestrator on Kafka', () => {
  beforeEach(async () => {
    place = await newPlace(addressOf(kafka).brokers);
  });

  it('killed with SIGKILL after every event of the flow in turn, ends each job alike, with one version and no activity run twice', async () => {
    await expect(killAfterEveryEvent(place, db.database)).resolves.toBeUndefined();
  });

  it('shares the workflows with others that join and leave while 100 are in flight: none is lost, nothing is doubled', async () => {
    const { runs, activities } = counted();
    const first = await startEngine(place);
    keep(await startWorker(place, activities, { slots: 8 }));
    keep(await startWorker(place, activities, { slots: 8 }));
    const ids = Array.from({ length: 100 }, (_, i) => `wf-move-${i}`);
    await first.bus.publish(ids.map((id) => startCommand(id, 'three_steps', { value: 1 }, 1, first.codec)));
    await eventually(async () => expect(await done('wf-move-')).toBeGreaterThan(3), { withinMs: 30_000 });
    const second = keep(await startEngine(place));
    await eventually(() => expect(second.engine.status().partitions.length).toBeGreaterThan(0), { withinMs: 20_000 });
    await first.close();
    await eventually(() => expect(second.engine.status().partitions).toHaveLength(8), { withinMs: 20_000 });
    await eventually(async () => expect(await done('wf-move-')).toBe(100), { withinMs: 60_000 });
    expect(await doubled('wf-move-')).toEqual([]);
    expect([...runs.values()].filter((n) => n > 1)).toEqual([]);
  });

  it('sends what cannot be read to the dead letters and goes on', async () => {
    const { bus, codec } = keep(await startEngine(place));
    keep(await startWorker(place, counted().activities));
    const good = startCommand('wf-good', 'three_steps', { value: 1 }, 1, codec);
    const unknownSchema = Buffer.from(good.value);
    unknownSchema.writeUInt32BE(2_000_000_000, 1);
    await bus.publish([
      { ...good, value: Buffer.from('not framed') },
      { ...good, headers: { ...good.headers, ce_id: 'other' }, value: unknownSchema },
      good,
    ]);
    await eventually(async () => expect(await done('wf-good')).toBe(1), { withinMs: 30_000 });
    const reader = keep(await openPlace(place, 'reader'));
    const letters = await reader.bus.subscribe({ groupId: 'letters', topics: ['trainyard.dlq'], from: 'beginning' });
    const codes = await eventually(
      async () => {
        const found = (await letters.poll({ maxMessages: 10, maxWaitMs: 500 })).map(
          ({ value }) => codec.decode(value).payload as { code: string },
        );
        return found.length === 2 && found.map(({ code }) => code);
      },
      { withinMs: 20_000 },
    );
    expect(codes.sort()).toEqual(['UndecodableMessage', 'UnknownSchema']);
  });
});

describe.skipIf(!registry.available || !kafka.available || kafka.rung !== 'local process')('a broker', () => {
  let dir: string;
  let own: RunningKafka;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'trainyard-kafka-'));
    own = await startKafka({ dir });
  });
  afterAll(async () => {
    await own.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('that is killed and comes back in the middle of 60 workflows costs none of them', async () => {
    place = await newPlace(own.brokers);
    const { runs, activities } = counted();
    const { bus, codec } = keep(await startEngine(place));
    keep(await startWorker(place, activities, { slots: 4 }));
    const ids = Array.from({ length: 60 }, (_, i) => `wf-broker-${i}`);
    await bus.publish(ids.map((id) => startCommand(id, 'three_steps', { value: 1 }, 1, codec)));
    await eventually(async () => expect(await done('wf-broker-')).toBeGreaterThan(3), { withinMs: 30_000 });
    const [node] = own.nodes;
    node?.kill('SIGKILL');
    await node?.restart();
    // Cancelling goes through the outbox of a transaction: it works as before.
    const cancel = encodeMessage(codec, {
      topic: 'orchestrator.commands',
      key: 'wf-broker-59',
      type: 'CancelJob',
      payload: { workflowId: 'wf-broker-59', requestedBy: 'test', reason: null },
      envelope: { id: 'cancel-59', source: '/test', timeMs: Date.now() },
    });
    await db.database.transaction((tx) => bus.publishIn(tx, [cancel]));
    await eventually(async () => expect(await done('wf-broker-')).toBe(60), { withinMs: 90_000 });
    expect(await doubled('wf-broker-')).toEqual([]);
    // A lease may end while nobody hears the heartbeats: then an attempt is run again, under the next epoch.
    expect(runs.size).toBeGreaterThan(170);
  });
});
