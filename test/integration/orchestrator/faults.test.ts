import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ActivityName } from '#lib/contracts/activities.ts';
import { decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import { workflowRegistry } from '../../../services/orchestrator/domain/workflows/registry.ts';
import { workflow } from '../../../services/orchestrator/domain/workflows/vocabulary.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { codec, startCommand, startEngine, startProcess, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';
import { registryWithThreeSteps } from '../../support/three-steps.ts';

const ok = async () => null;
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

const row = async (id: string) =>
  (
    await db.database.query<{ state: string; status: string; parked_reason: string | null }>(
      'select state, status, parked_reason from workflows where workflow_id = $1',
      [id],
    )
  ).rows[0];
const events = async (id: string) =>
  (
    await db.database.query<{ type: string; data: Record<string, unknown> }>(
      'select type, data from events where workflow_id = $1 order by seq',
      [id],
    )
  ).rows;
const typesOf = async (id: string) => (await events(id)).map((event) => event.type);
const reaches = (id: string, state: string) =>
  eventually(async () => expect((await row(id))?.state).toBe(state), { withinMs: 15_000 });

describe('messages that cannot be read', () => {
  it('go to the dead letters with their bytes and position, and the next message is handled', async () => {
    const { bus } = keep(await startEngine(db.url));
    keep(await startWorker(db.url, trivial));
    const good = startCommand('wf-after-garbage');
    const { ce_id: _id, ...headersWithoutId } = good.headers;
    await bus.publish([
      { topic: 'orchestrator.commands', key: 'k', headers: good.headers, value: Buffer.from('not avro') },
      { topic: 'orchestrator.commands', key: 'k', headers: headersWithoutId, value: good.value },
      {
        topic: 'orchestrator.commands',
        key: 'k',
        headers: { ...good.headers, ce_type: 'Nonsense' },
        value: good.value,
      },
      startCommand('wf-bad-json', 'three_steps', undefined),
      good,
    ]);
    await reaches('wf-after-garbage', 'completed');
    const letters = await eventually(async () => {
      const { rows } = await db.database.query<{ value: Buffer; headers: string }>(
        `select value, headers from bus_messages where topic = 'trainyard.dlq' order by "offset"`,
      );
      expect(rows.length).toBeGreaterThanOrEqual(3);
      return rows;
    });
    const decoded = letters.map(({ value, headers }) => {
      const received = {
        topic: 'trainyard.dlq',
        partition: 0,
        offset: 0,
        key: 'k',
        headers: JSON.parse(headers) as Record<string, string>,
        value,
      };
      const result = decodeMessage(codec, received);
      if (!result.ok || result.message.type !== 'DeadLetter') throw new Error('not a dead letter');
      return result.message.payload;
    });
    expect(decoded.map((letter) => letter.code)).toEqual(
      expect.arrayContaining(['UndecodableMessage', 'MissingHeader', 'UnknownSchema']),
    );
    expect(
      decoded.some((letter) => letter.value.toString() === 'not avro' && letter.topic === 'orchestrator.commands'),
    ).toBe(true);
  });
});

describe('a heartbeat that decodes but makes no sense', () => {
  it('goes to the dead letters and stops nobody', async () => {
    let failures = 0;
    const log = { info: () => undefined, warn: () => undefined, error: () => void failures++ };
    const { bus } = keep(await startEngine(db.url, { log }));
    const gate = Promise.withResolvers<null>();
    keep(await startWorker(db.url, { ...trivial, first: () => gate.promise }));
    await bus.publish([startCommand('wf-odd-heartbeat')]);
    await eventually(async () => expect(await typesOf('wf-odd-heartbeat')).toContain('ActivityStarted'));
    const payload = {
      workflowId: 'wf-odd-heartbeat',
      activityId: 'first',
      epoch: 1,
      workerId: 'w',
      incarnation: 'i',
      step: 1,
      stepsTotal: 2,
      throughput: null,
      deviceJson: '{',
      metrics: [],
    };
    const envelope = { id: 'odd', source: '/test', timeMs: 1 };
    await bus.publish([
      encodeMessage(codec, {
        topic: 'activities.events',
        key: payload.workflowId,
        type: 'ActivityProgressed',
        payload,
        envelope,
      }),
    ]);
    await eventually(async () => {
      const { rows } = await db.database.query(
        `select 1 from bus_messages where topic = 'trainyard.dlq' and key like 'activities.events/%'`,
      );
      expect(rows).toHaveLength(1);
    });
    gate.resolve(null);
    await reaches('wf-odd-heartbeat', 'completed');
    expect(failures).toBe(0);
  });
});

describe('a workflow whose machine throws', () => {
  const flawed = (broken: boolean) =>
    workflow<{ value: number }>('flawed@1', ({ runs, ends }) => ({
      initial: 'working',
      states: {
        working: runs('first' as ActivityName, {
          lane: 'cpu',
          startToClose: '1m',
          input: () => ({}) as never,
          onDone: [
            {
              when: () => {
                if (broken) throw new Error('this guard is broken');
                return true;
              },
              to: 'completed',
            },
            { to: 'failed' },
          ],
        }),
        completed: ends('COMPLETED'),
      },
    }));
  const profile = {
    current: 'flawed@1',
    executionTimeoutMs: 60_000,
    retry: { maxAttempts: 1, backoff: 1, initialIntervalMs: 1, maxIntervalMs: 1 },
  };
  const registry = (broken: boolean) => {
    const three = registryWithThreeSteps();
    const mine = workflowRegistry({ flawed: profile }, [flawed(broken)]);
    return {
      profile: (type: string) => mine.profile(type) ?? three.profile(type),
      machine: (definition: string) => mine.machine(definition) ?? three.machine(definition),
    };
  };

  it('is parked with the reason, hurts no other, and goes on under a release that can fold it', async () => {
    const broken = await startEngine(db.url, { registry: registry(true) });
    keep(await startWorker(db.url, trivial));
    await broken.bus.publish([startCommand('wf-poison', 'flawed'), startCommand('wf-healthy')]);
    await reaches('wf-healthy', 'completed');
    await eventually(async () => expect((await row('wf-poison'))?.status).toBe('parked'));
    expect((await row('wf-poison'))?.parked_reason).toContain('this guard is broken');
    expect(await typesOf('wf-poison')).toEqual(['WorkflowStarted', 'ActivityCompleted']);
    await broken.close();

    keep(await startEngine(db.url, { registry: registry(false) }));
    await eventually(async () => expect(await row('wf-poison')).toMatchObject({ status: 'done', state: 'completed' }));
    expect(await typesOf('wf-poison')).toEqual(['WorkflowStarted', 'ActivityCompleted']);
  });
});

describe('attempts that end without an answer', () => {
  it('a worker that dies loses its lease and the activity runs again under the next epoch', async () => {
    const { bus } = keep(await startEngine(db.url));
    const epochs: number[] = [];
    const dead = await startProcess('worker-process.ts', db.url);
    await bus.publish([startCommand('wf-lost')]);
    await eventually(async () => expect(await typesOf('wf-lost')).toContain('ActivityStarted'));
    await dead.kill();
    keep(await startWorker(db.url, { ...trivial, second: async ({ epoch }) => void epochs.push(epoch) }));
    await reaches('wf-lost', 'completed');
    expect(epochs).toEqual([2]);
    expect(await events('wf-lost')).toContainEqual({
      type: 'LeaseEnded',
      data: { activityId: 'second', epoch: 1, reason: 'lost' },
    });
  });

  it('a worker process that is started anew loses what its former life ran at once, without the heartbeat timeout', async () => {
    const { bus } = keep(
      await startEngine(db.url, {
        settings: {
          leases: { heartbeatTimeoutMs: 600_000, acceptTimeoutMs: 60_000, stallFactor: 20, stallFloorMs: 600_000 },
        },
      }),
    );
    const dead = await startProcess('worker-process.ts', db.url, 'reborn');
    await bus.publish([startCommand('wf-reborn')]);
    await eventually(async () => expect(await typesOf('wf-reborn')).toContain('ActivityStarted'));
    await dead.kill();
    keep(await startWorker(db.url, trivial, { workerId: 'reborn' }));
    await reaches('wf-reborn', 'completed');
    expect(await typesOf('wf-reborn')).toContain('LeaseEnded');
  });

  it('an attempt that is alive without progress is ended as stalled and told to stop', async () => {
    const { bus } = keep(await startEngine(db.url));
    let reason: unknown;
    let attempts = 0;
    const hangs = ({ signal }: { signal: AbortSignal }) => {
      if (++attempts > 1) return Promise.resolve(null);
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason;
          reject(new Error('stopped'));
        });
      });
    };
    keep(await startWorker(db.url, { ...trivial, second: hangs }));
    await bus.publish([startCommand('wf-stalled')]);
    await reaches('wf-stalled', 'completed');
    expect(attempts).toBe(2);
    await eventually(() => expect(reason).toBe('Revoked'));
    expect(await events('wf-stalled')).toContainEqual({
      type: 'LeaseEnded',
      data: { activityId: 'second', epoch: 1, reason: 'stalled' },
    });
  });

  it('what a zombie reports after its lease was given away is recorded and changes nothing', async () => {
    const { bus } = keep(await startEngine(db.url));
    keep(await startWorker(db.url, trivial));
    await bus.publish([startCommand('wf-zombie')]);
    await reaches('wf-zombie', 'completed');
    const late = {
      workflowId: 'wf-zombie',
      activityId: 'second',
      epoch: 0,
      workerId: 'zombie',
      incarnation: 'old',
      startedAtMs: 1,
      finishedAtMs: 2,
      outputJson: '"from the grave"',
    };
    await bus.publish([
      encodeMessage(codec, {
        topic: 'activities.events',
        key: 'wf-zombie',
        type: 'ActivityCompleted',
        payload: late,
        envelope: { id: 'late-1', source: '/test', timeMs: 1 },
      }),
    ]);
    await eventually(async () => expect(await typesOf('wf-zombie')).toContain('LateMessageIgnored'));
    expect(await row('wf-zombie')).toMatchObject({ state: 'completed', status: 'done' });
  });

  it('a job that runs longer than its type allows ends as timed out and its attempt is stopped', async () => {
    const { bus } = keep(await startEngine(db.url, { registry: registryWithThreeSteps({ executionTimeoutMs: 700 }) }));
    let stopped = false;
    const waits = ({ signal }: { signal: AbortSignal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          stopped = true;
          reject(new Error('stopped'));
        });
      });
    keep(await startWorker(db.url, { ...trivial, second: waits }));
    await bus.publish([startCommand('wf-too-long')]);
    await reaches('wf-too-long', 'timedOut');
    await eventually(() => expect(stopped).toBe(true));
  });
});

describe('durable timers', () => {
  it('fire once, also when the orchestrator was away at their time', async () => {
    const waiting = workflow<{ value: number }>('waiting@1', ({ waits, ends }) => ({
      initial: 'waiting',
      states: { waiting: waits({ timer: 'pause', for: '600ms', onFired: 'completed' }), completed: ends('COMPLETED') },
    }));
    const registry = workflowRegistry(
      {
        waiting: {
          current: 'waiting@1',
          executionTimeoutMs: 60_000,
          retry: { maxAttempts: 1, backoff: 1, initialIntervalMs: 1, maxIntervalMs: 1 },
        },
      },
      [waiting],
    );
    const first = await startEngine(db.url, { registry });
    await first.bus.publish([startCommand('wf-timer', 'waiting'), startCommand('wf-timer-2', 'waiting')]);
    await eventually(async () => expect((await row('wf-timer-2'))?.state).toBe('waiting'));
    await first.close();
    keep(await startEngine(db.url, { registry }));
    await reaches('wf-timer', 'completed');
    await reaches('wf-timer-2', 'completed');
    expect((await typesOf('wf-timer')).filter((type) => type === 'TimerFired')).toHaveLength(1);
    const { rows } = await db.database.query('select 1 from timers');
    expect(rows).toEqual([]);
  });
});
