import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WORKFLOW_PARTITIONS } from '#lib/contracts/topics.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { startCommand, startEngine, startProcess, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';
import { decidedTwice, workflowsDone } from '../../support/log-queries.ts';

const WORKFLOWS = 60;

let db: TestDatabase;
const open: (() => Promise<void>)[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});
afterAll(() => db.drop());

const done = (prefix: string): Promise<number> => workflowsDone(db.database, prefix);
const doubled = (prefix: string): Promise<unknown[]> => decidedTwice(db.database, prefix);

/** Two orchestrators, one of them a process that can be killed, share work that is in flight. */
async function twoAtWork(prefix: string) {
  const here = await startEngine(db.url);
  open.push(here.close);
  const there = await startProcess('orchestrator-process.ts', db.url, 'peer');
  open.push(there.kill);
  const slow = () => new Promise((resolve) => setTimeout(resolve, 30));
  const worker = await startWorker(db.url, { first: slow, second: slow, third: slow }, { slots: 4 });
  open.push(worker.close);
  const partitions = (): number => here.engine.status().partitions.length;
  await eventually(() => partitions() > 0 && partitions() < WORKFLOW_PARTITIONS);
  await here.bus.publish(Array.from({ length: WORKFLOWS }, (_, i) => startCommand(`${prefix}${i}`)));
  await eventually(async () => expect(await done(prefix)).toBeGreaterThan(3), { withinMs: 20_000 });
  expect(await done(prefix)).toBeLessThan(WORKFLOWS);
  return { there, partitions };
}

const allDone = (prefix: string): Promise<void> =>
  eventually(async () => expect(await done(prefix)).toBe(WORKFLOWS), { withinMs: 30_000 });

describe('one orchestrator of several', () => {
  it('that is killed with -9 leaves its partitions to the others, which lose nothing and decide nothing twice', async () => {
    const { there, partitions } = await twoAtWork('wf-killed-');
    await there.kill();
    await eventually(() => expect(partitions()).toBe(WORKFLOW_PARTITIONS));
    await allDone('wf-killed-');
    expect(await doubled('wf-killed-')).toEqual([]);
  });

  it('that is stopped (SIGSTOP) loses its partitions; when it wakes it decides nothing twice and shares the work again', async () => {
    const { there, partitions } = await twoAtWork('wf-frozen-');
    process.kill(there.pid, 'SIGSTOP');
    await eventually(() => expect(partitions()).toBe(WORKFLOW_PARTITIONS));
    expect(await done('wf-frozen-')).toBeLessThan(WORKFLOWS);
    process.kill(there.pid, 'SIGCONT');
    await eventually(() => expect(partitions()).toBeLessThan(WORKFLOW_PARTITIONS));
    await allDone('wf-frozen-');
    expect(await doubled('wf-frozen-')).toEqual([]);
  });
});
