import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { startCommand, startEngine, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';

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

const done = async (prefix: string): Promise<number> =>
  (
    await db.database.query<{ n: number }>(
      `select count(*)::int as n from workflows where workflow_id like $1 and status = 'done'`,
      [`${prefix}%`],
    )
  ).rows[0]?.n ?? 0;

/** Every event once per activity: what two deciders would break. */
const doubled = async (prefix: string): Promise<unknown[]> =>
  (
    await db.database.query(
      `select workflow_id, type, data->>'activityId' as activity, count(*)::int as n from events
       where workflow_id like $1 and type in ('WorkflowStarted', 'ActivityCompleted') group by 1, 2, 3 having count(*) > 1`,
      [`${prefix}%`],
    )
  ).rows;

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
    expect([first, second, third].filter(({ engine }) => engine.status().dispatcher)).toHaveLength(1);
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
});
