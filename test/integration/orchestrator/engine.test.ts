import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { cancelCommand, startCommand, startEngine, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';

const ok = async () => ({ fine: true });
const trivial = { first: ok, second: ok, third: ok };

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

const workflowState = async (id: string) =>
  (
    await db.database.query<{ state: string; status: string }>(
      'select state, status from workflows where workflow_id = $1',
      [id],
    )
  ).rows[0];
const eventTypes = async (id: string) =>
  (
    await db.database.query<{ type: string }>('select type from events where workflow_id = $1 order by seq', [id])
  ).rows.map((r) => r.type);

describe('engine', () => {
  it('runs a workflow of three activities to its end', async () => {
    const { bus } = keep(await startEngine(db.url));
    keep(await startWorker(db.url, trivial));
    await bus.publish([startCommand('wf-basic')]);
    await eventually(async () =>
      expect(await workflowState('wf-basic')).toEqual({ state: 'completed', status: 'done' }),
    );
    expect(await eventTypes('wf-basic')).toEqual([
      'WorkflowStarted',
      'ActivityCompleted',
      'ActivityCompleted',
      'ActivityCompleted',
    ]);
  });

  it('a start command that comes twice starts one workflow', async () => {
    const { bus } = keep(await startEngine(db.url));
    keep(await startWorker(db.url, trivial));
    await bus.publish([startCommand('wf-twice'), startCommand('wf-twice')]);
    await bus.publish([startCommand('wf-twice')]);
    await eventually(async () =>
      expect(await workflowState('wf-twice')).toEqual({ state: 'completed', status: 'done' }),
    );
    expect((await eventTypes('wf-twice')).filter((type) => type === 'WorkflowStarted')).toHaveLength(1);
  });

  it('a cancelled workflow tells the worker to stop and ends as cancelled', async () => {
    const { bus } = keep(await startEngine(db.url));
    let reason: unknown = null;
    const waits = ({ signal }: { signal: AbortSignal }) =>
      new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new Error((reason = signal.reason) as string))),
      );
    keep(await startWorker(db.url, { ...trivial, second: waits }));
    await bus.publish([startCommand('wf-cancel')]);
    await eventually(async () => expect(await workflowState('wf-cancel')).toEqual({ state: 'second', status: 'open' }));
    await eventually(async () => expect(await eventTypes('wf-cancel')).toContain('ActivityStarted'));
    await bus.publish([cancelCommand('wf-cancel')]);
    await eventually(async () =>
      expect(await workflowState('wf-cancel')).toEqual({ state: 'cancelled', status: 'done' }),
    );
    await eventually(() => expect(reason).toBe('Cancelled'));
  });

  it('an activity that fails is tried again after back-off and fails the job after its last attempt', async () => {
    const { bus } = keep(await startEngine(db.url));
    let attempts = 0;
    const fails = async () => {
      attempts++;
      throw new Error('no luck');
    };
    keep(await startWorker(db.url, { ...trivial, second: fails }));
    await bus.publish([startCommand('wf-fails')]);
    await eventually(async () => expect(await workflowState('wf-fails')).toEqual({ state: 'failed', status: 'done' }));
    expect(attempts).toBe(3);
  });

  it('300 workflows at once all end, each activity once', async () => {
    const { bus } = keep(await startEngine(db.url));
    const seen = new Map<string, number>();
    const count = async ({ workflowId, activityId }: { workflowId: string; activityId: string }) => {
      seen.set(`${workflowId}/${activityId}`, (seen.get(`${workflowId}/${activityId}`) ?? 0) + 1);
    };
    keep(await startWorker(db.url, { first: count, second: count, third: count }, { slots: 50 }));
    const ids = Array.from({ length: 300 }, (_, i) => `wf-many-${i}`);
    await bus.publish(ids.map((id) => startCommand(id)));
    await eventually(
      async () => {
        const { rows } = await db.database.query<{ n: number }>(
          `select count(*)::int as n from workflows where workflow_id like 'wf-many-%' and status = 'done'`,
        );
        expect(rows[0]?.n).toBe(300);
      },
      { withinMs: 30_000 },
    );
    expect(seen.size).toBe(900);
    expect([...seen.values()].every((n) => n === 1)).toBe(true);
  });
});
