import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WORKFLOW_PARTITIONS } from '#lib/contracts/topics.ts';
import { partitionOf } from '#lib/kernel/partition.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { startCommand, startEngine, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';
import { decidedTwice, workflowsDone } from '../../support/log-queries.ts';

let db: TestDatabase;
const open: (() => Promise<void>)[] = [];
const keep = <T extends { close: () => Promise<void> }>(thing: T): T => {
  open.push(thing.close);
  return thing;
};

beforeAll(async () => {
  db = await createTestDatabase();
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});
afterAll(() => db.drop());

const done = (prefix: string): Promise<number> => workflowsDone(db.database, prefix);
const doubled = (prefix: string): Promise<unknown[]> => decidedTwice(db.database, prefix);

const ids = (prefix: string, n: number): string[] => Array.from({ length: n }, (_, i) => `${prefix}${i}`);

describe('several orchestrators on one database', () => {
  it('share the workflows, place through one dispatcher and decide nothing twice', async () => {
    const first = keep(await startEngine(db.url));
    const second = keep(await startEngine(db.url));
    const third = keep(await startEngine(db.url));
    const ok = async () => null;
    keep(await startWorker(db.url, { first: ok, second: ok, third: ok }, { slots: 20 }));
    await eventually(() => {
      const owned = [first, second, third].map(({ engine }) => engine.status().partitions.length);
      expect(owned.every((n) => n > 0)).toBe(true);
      expect(owned.reduce((a, b) => a + b, 0)).toBe(8);
    });
    await eventually(() =>
      expect([first, second, third].filter(({ engine }) => engine.status().dispatcher)).toHaveLength(1),
    );
    await first.bus.publish(ids('wf-share-', 60).map((id) => startCommand(id)));
    await eventually(async () => expect(await done('wf-share-')).toBe(60), { withinMs: 30_000 });
    expect(await doubled('wf-share-')).toEqual([]);
  });

  it('a new orchestrator takes over while work is in flight, and the leaving one loses nothing', async () => {
    const first = await startEngine(db.url);
    const slow = () => new Promise((resolve) => setTimeout(resolve, 30));
    keep(await startWorker(db.url, { first: slow, second: slow, third: slow }, { slots: 8 }));
    await first.bus.publish(ids('wf-move-', 60).map((id) => startCommand(id)));
    await eventually(async () => expect(await done('wf-move-')).toBeGreaterThan(3), { withinMs: 20_000 });
    const second = keep(await startEngine(db.url));
    await eventually(() => expect(second.engine.status().partitions.length).toBeGreaterThan(0));
    await eventually(async () => expect(await done('wf-move-')).toBeGreaterThan(20), { withinMs: 20_000 });
    await first.close();
    await eventually(() => expect(second.engine.status().partitions).toHaveLength(8));
    await eventually(async () => expect(await done('wf-move-')).toBe(60), { withinMs: 30_000 });
    expect(await doubled('wf-move-')).toEqual([]);
  });

  /** A workflow id whose partition is one of these. */
  const idIn = (prefix: string, partitions: readonly number[]): string => {
    for (let i = 0; ; i++)
      if (partitions.includes(partitionOf(`${prefix}${i}`, WORKFLOW_PARTITIONS))) return `${prefix}${i}`;
  };
  const gated = () => {
    const gate = Promise.withResolvers<null>();
    const atOnce = async () => null;
    return { open: () => gate.resolve(null), activities: { first: () => gate.promise, second: atOnce, third: atOnce } };
  };
  const runs = (id: string) =>
    eventually(async () => {
      const { rows } = await db.database.query<{ state: string }>(
        'select state from activities where workflow_id = $1',
        [id],
      );
      expect(rows).toEqual([{ state: 'running' }]);
    });
  const capOne = () =>
    db.database.query(
      `insert into projects (id, max_running_workflows) values ('demo', 1) on conflict (id) do update set max_running_workflows = 1`,
    );

  it('a place under the cap is free again when its workflow moved to a joining orchestrator and ended there', async () => {
    await capOne();
    const first = keep(await startEngine(db.url));
    const { open: release, activities } = gated();
    keep(await startWorker(db.url, activities, { slots: 8 }));
    await eventually(() => expect(first.engine.status().partitions).toHaveLength(8));
    // One in every partition but the dispatcher's own: whichever partitions move, the one that runs is looked for among them.
    const id = idIn('wf-joined-', [4, 5, 6, 7]);
    await first.bus.publish([startCommand(id)]);
    await runs(id);
    const joining: { engine: { status(): { partitions: number[] } } }[] = [];
    while (first.engine.status().partitions.includes(partitionOf(id, WORKFLOW_PARTITIONS))) {
      expect(joining.length).toBeLessThan(4);
      const before = first.engine.status().partitions.length;
      joining.push(keep(await startEngine(db.url)));
      await eventually(() => expect(first.engine.status().partitions.length).toBeLessThan(before));
    }
    // Not while it takes part in the rebalance: the role is taken up anew at its end.
    await eventually(() => expect(first.engine.status().dispatcher).toBe(true));
    release();
    await eventually(async () => expect(await done(id)).toBe(1));
    await first.bus.publish([startCommand('wf-after-joined')]);
    await eventually(async () => expect(await done('wf-after-joined')).toBe(1));
  });

  it('a place under the cap is free again when its workflow came back from a leaving orchestrator', async () => {
    await capOne();
    const first = keep(await startEngine(db.url));
    await eventually(() => expect(first.engine.status().partitions).toHaveLength(8));
    const second = await startEngine(db.url);
    await eventually(() => expect(second.engine.status().partitions.length).toBeGreaterThan(0));
    const { open: release, activities } = gated();
    keep(await startWorker(db.url, activities, { slots: 8 }));
    const id = idIn('wf-left-', second.engine.status().partitions);
    await first.bus.publish([startCommand(id)]);
    await runs(id);
    await second.close();
    await eventually(() => expect(first.engine.status().partitions).toHaveLength(8));
    release();
    await eventually(async () => expect(await done(id)).toBe(1));
    await first.bus.publish([startCommand('wf-after-left')]);
    await eventually(async () => expect(await done('wf-after-left')).toBe(1));
  });
});
