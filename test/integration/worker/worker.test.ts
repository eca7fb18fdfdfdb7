import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Bus, PartitionLostError, type Subscription } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { decodeMessage, encodeMessage, type Message } from '#lib/contracts/envelope.ts';
import type { ExecuteActivity, StopReason } from '#lib/contracts/generated/messages.ts';
import { type MessageType, topicSpecs } from '#lib/contracts/topics.ts';
import { type Activity, type ActivityContext, YieldedError } from '#lib/worker/activity.ts';
import { Worker, type WorkerOptions } from '#lib/worker/worker.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { codec } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
let db: TestDatabase;
let bus: PostgresBus;
let observer: Subscription;
const seen: Message[] = [];
const close: (() => Promise<void>)[] = [];

beforeAll(async () => {
  db = await createTestDatabase({ maxConnections: 10 });
  bus = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
  await bus.ensureTopics(topicSpecs());
  const topics = ['activities.events', 'workers.events', 'trainyard.dlq'];
  observer = await bus.subscribe({ groupId: 'observer', topics, from: 'beginning' });
});
afterEach(async () => {
  for (const each of close.splice(0).reverse()) await each();
  seen.length = 0;
});
afterAll(async () => {
  await observer.close();
  await bus.close();
  await db.drop();
});

/** Payloads of this type that workers published since the test began, about workflows of this prefix. */
async function reported<T extends MessageType>(
  type: T,
  prefix = '',
): Promise<Extract<Message, { type: T }>['payload'][]> {
  for (const received of await observer.poll({ maxMessages: 1_000, maxWaitMs: 0 })) {
    const decoded = decodeMessage(codec, received);
    if (decoded.ok) seen.push(decoded.message);
  }
  return seen.filter((m) => m.type === type && m.key.startsWith(prefix)).map((m) => m.payload) as never;
}

async function start(activities: Record<string, Activity['run']>, change: Partial<WorkerOptions> = {}) {
  const workerId = `w-${randomUUID().slice(0, 8)}`;
  const worker = new Worker({
    workerId,
    incarnation: randomUUID(),
    lane: 'cpu',
    slots: 4,
    announceEveryMs: 200,
    bus,
    codec,
    claims: null,
    activities: Object.fromEntries(Object.entries(activities).map(([name, run]) => [name, { run }])),
    log: quiet,
    onBroken: (error) => {
      throw error;
    },
    ...change,
  });
  await worker.start();
  let stopped: Promise<void> | null = null;
  const stop = (boundMs = 1_000): Promise<void> => (stopped ??= worker.stop(boundMs));
  close.push(() => stop());
  await eventually(async () => {
    const own = (await reported('WorkerHeartbeat')).filter((h) => h.workerId === workerId);
    expect(own.some((h) => h.partitions.length === 8)).toBe(true);
  });
  return { worker, workerId, stop };
}

const execute = (workflowId: string, change: Partial<ExecuteActivity> = {}) =>
  encodeMessage(codec, {
    topic: 'lanes.cpu',
    key: workflowId,
    type: 'ExecuteActivity',
    payload: {
      workflowId,
      activityId: 'a',
      epoch: 1,
      jobId: 'job',
      project: 'demo',
      activity: 'work',
      workerId: 'anybody',
      inputJson: '{}',
      heartbeatEveryMs: 100,
      deadlineAtMs: Date.now() + 60_000,
      resumeJson: null,
      ...change,
    },
    envelope: { id: `exec:${workflowId}:${change.epoch ?? 1}:${randomUUID()}`, source: '/test', timeMs: Date.now() },
  });
const stopActivity = (workflowId: string, epoch: number, reason: StopReason) =>
  encodeMessage(codec, {
    topic: 'lanes.control',
    key: workflowId,
    type: 'StopActivity',
    payload: { workflowId, activityId: 'a', epoch, reason },
    envelope: { id: randomUUID(), source: '/test', timeMs: Date.now() },
  });
const untilStopped = ({ signal }: ActivityContext): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(new YieldedError(3))));

describe('a worker', () => {
  it('runs a command and reports its output; short work reports its start with its end', async () => {
    await start({ work: async ({ input, epoch }) => ({ input, epoch }) });
    await bus.publish([execute('wf-run', { inputJson: '{"n":5}' })]);
    const [completed] = await eventually(async () => {
      const all = await reported('ActivityCompleted', 'wf-run');
      expect(all).toHaveLength(1);
      return all;
    });
    expect(completed).toMatchObject({ epoch: 1, outputJson: '{"input":{"n":5},"epoch":1}' });
    expect(await reported('ActivityStarted', 'wf-run')).toEqual([]);
  });

  it('runs a command once that comes twice, while the attempt runs and after its end', async () => {
    let runs = 0;
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (finish = resolve));
    await start({ work: async () => (runs++, gate) });
    await bus.publish([execute('wf-twice'), execute('wf-twice')]);
    await eventually(() => expect(runs).toBe(1));
    await bus.publish([execute('wf-twice')]);
    finish();
    await eventually(async () => expect(await reported('ActivityCompleted', 'wf-twice')).toHaveLength(1));
    await bus.publish([execute('wf-twice'), execute('wf-twice', { epoch: 2 })]);
    await eventually(async () => expect(await reported('ActivityCompleted', 'wf-twice')).toHaveLength(2));
    expect(runs).toBe(2);
    expect(await reported('ActivityDeclined', 'wf-twice')).toEqual([]);
  });

  it('declines what it has no slot for and what it does not know', async () => {
    await start({ work: untilStopped }, { slots: 1 });
    await bus.publish([execute('wf-full-1')]);
    await eventually(async () => expect(await reported('ActivityStarted', 'wf-full-1')).toHaveLength(1));
    await bus.publish([execute('wf-full-2'), execute('wf-full-3', { activity: 'unheard-of' })]);
    await eventually(async () => {
      const reasons = (await reported('ActivityDeclined', 'wf-full')).map((d) => `${d.workflowId} ${d.reason}`);
      expect(reasons.sort()).toEqual(['wf-full-2 NoFreeSlot', 'wf-full-3 UnknownActivity']);
    });
  });

  it('ends exactly the attempt that it is told to, and older ones of the same activity', async () => {
    const reasons: string[] = [];
    const work = async (context: ActivityContext): Promise<unknown> => {
      context.signal.addEventListener('abort', () =>
        reasons.push(`${context.workflowId} #${context.epoch} ${context.signal.reason}`),
      );
      return untilStopped(context);
    };
    await start({ work });
    await bus.publish([execute('wf-stop-1', { epoch: 2 }), execute('wf-stop-2', { epoch: 1 })]);
    await eventually(async () => expect(await reported('ActivityStarted', 'wf-stop')).toHaveLength(2));
    await bus.publish([stopActivity('wf-stop-1', 1, 'Revoked'), stopActivity('wf-stop-3', 9, 'Revoked')]);
    await bus.publish([stopActivity('wf-stop-2', 1, 'Preempted')]);
    await eventually(() => expect(reasons).toEqual(['wf-stop-2 #1 Preempted']));
    await bus.publish([stopActivity('wf-stop-1', 2, 'Cancelled')]);
    await eventually(() => expect(reasons).toEqual(['wf-stop-2 #1 Preempted', 'wf-stop-1 #2 Cancelled']));
    await eventually(async () =>
      expect(await reported('ActivityYielded', 'wf-stop-2')).toMatchObject([{ reason: 'Preempted', step: 3 }]),
    );
  });

  it('that stops lets its attempts yield, says so, and announces that it has no slots', async () => {
    const { workerId, stop } = await start({ work: untilStopped });
    await bus.publish([execute('wf-leave')]);
    await eventually(async () => expect(await reported('ActivityStarted', 'wf-leave')).toHaveLength(1));
    await stop();
    expect(await reported('ActivityYielded', 'wf-leave')).toMatchObject([{ reason: 'WorkerStopping', step: 3 }]);
    const announced = (await reported('WorkerHeartbeat')).filter((h) => h.workerId === workerId);
    expect(announced.some((h) => h.slots === 0)).toBe(true);
  });

  it('that stops is done within its bound although an attempt does not listen', async () => {
    const { stop } = await start({ work: () => new Promise(() => undefined) });
    await bus.publish([execute('wf-deaf')]);
    await eventually(async () => expect(await reported('ActivityStarted', 'wf-deaf')).toHaveLength(1));
    const before = performance.now();
    await stop(200);
    expect(performance.now() - before).toBeLessThan(3_000);
  });

  it('leaves no command unanswered that it took while it was stopping', async () => {
    const taken: string[] = [];
    const { stop } = await start({ work: async ({ workflowId }) => taken.push(workflowId) }, { slots: 1_000 });
    const ids = Array.from({ length: 50 }, (_, i) => `wf-late-${i}`);
    const publishing = Promise.all(ids.map((id) => bus.publish([execute(id)])));
    await stop();
    await publishing;
    const answered = new Set([
      ...(await reported('ActivityCompleted', 'wf-late')).map((p) => p.workflowId),
      ...(await reported('ActivityDeclined', 'wf-late')).map((p) => p.workflowId),
    ]);
    // What is neither answered nor committed comes to the next worker of the lane.
    await start({ work: async ({ workflowId }) => taken.push(workflowId) }, { slots: 1_000 });
    await eventually(async () => {
      for (const type of ['ActivityCompleted', 'ActivityDeclined'] as const)
        for (const { workflowId } of await reported(type, 'wf-late')) answered.add(workflowId);
      expect(answered.size).toBe(ids.length);
    });
    expect(new Set(taken).size).toBe(taken.length);
  });

  it('runs nothing whose position it could not commit', async () => {
    let refusals = 2;
    const runs: string[] = [];
    const before: number[] = [];
    const unlucky: Bus = {
      ...busMethods(),
      subscribe: async (options) => {
        const subscription = await bus.subscribe(options);
        const commit = subscription.commit.bind(subscription);
        if (options.topics.includes('lanes.cpu'))
          subscription.commit = async (positions) => {
            if (refusals-- > 0) throw refusals === 1 ? new PartitionLostError([]) : new Error('connection lost');
            before.push(runs.length);
            await commit(positions);
          };
        return subscription;
      },
    };
    await start({ work: async ({ workflowId }) => runs.push(workflowId) }, { bus: unlucky });
    await bus.publish([execute('wf-commit')]);
    await eventually(async () => expect(await reported('ActivityCompleted', 'wf-commit')).toHaveLength(1));
    expect(runs).toEqual(['wf-commit']);
    expect(before).toEqual([0]);
  });

  it('puts a command that it cannot read to the dead letters, raw, and goes on', async () => {
    const { workerId } = await start({ work: async () => 1 });
    const good = execute('wf-dlq');
    const raw = Buffer.from('not avro at all');
    await bus.publish([{ ...good, value: raw }, { ...good, headers: { ce_type: 'ExecuteActivity' } }, good]);
    await eventually(async () => expect(await reported('ActivityCompleted', 'wf-dlq')).toHaveLength(1));
    const letters = await eventually(async () => {
      const all = (await reported('DeadLetter')).filter((letter) => letter.key === 'wf-dlq');
      expect(all).toHaveLength(2);
      return all;
    });
    expect(letters.map((l) => l.code).sort()).toEqual(['MissingHeader', 'UndecodableMessage']);
    const letter = letters.find((l) => l.code === 'UndecodableMessage');
    expect(letter).toMatchObject({ topic: 'lanes.cpu', consumer: workerId, headers: good.headers });
    expect(letter?.value.equals(raw)).toBe(true);
  });
});

describe('heartbeats', () => {
  it('carry the newest progress, and each point of a curve once', async () => {
    let say: ActivityContext | null = null;
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (finish = resolve));
    await start({ work: async (context) => ((say = context), gate) });
    await bus.publish([execute('wf-beat', { heartbeatEveryMs: 50 })]);
    const context = await eventually(() => say ?? false);
    for (let step = 1; step <= 3; step++) {
      context.metrics([{ name: 'loss', step, value: 1 / step }]);
      context.progress({ step, stepsTotal: 3, device: { used: step } });
      await eventually(async () => expect((await reported('ActivityProgressed', 'wf-beat')).at(-1)?.step).toBe(step));
    }
    context.metrics([{ name: 'loss', step: 4, value: 0 }]);
    finish();
    await eventually(async () => expect(await reported('ActivityCompleted', 'wf-beat')).toHaveLength(1));
    const beats = await reported('ActivityProgressed', 'wf-beat');
    expect(beats.flatMap((b) => b.metrics.map((m) => m.step))).toEqual([1, 2, 3, 4]);
    expect(beats.at(-1)).toMatchObject({ step: 3, stepsTotal: 3, deviceJson: '{"used":3}' });
  });

  it('and checkpoints never come before the start of their attempt, however short it is', async () => {
    await start({
      work: async ({ metrics, checkpointSaved }) => {
        metrics([{ name: 'loss', step: 1, value: 1 }]);
        checkpointSaved({ step: 1, manifestKey: 'k', digest: 'd' });
      },
    });
    await bus.publish([execute('wf-first')]);
    await eventually(async () => expect(await reported('ActivityCompleted', 'wf-first')).toHaveLength(1));
    const order = seen.filter((m) => m.key === 'wf-first').map((m) => m.type);
    expect(order).toEqual(['ActivityStarted', 'CheckpointSaved', 'ActivityProgressed', 'ActivityCompleted']);
  });
});

/** The bus as a plain object, so that a test can change one method. */
const busMethods = (): Bus => ({
  ensureTopics: (topics) => bus.ensureTopics(topics),
  publish: (messages) => bus.publish(messages),
  subscribe: (options) => bus.subscribe(options),
  lag: (groupId) => bus.lag(groupId),
  check: () => bus.check(),
  close: () => bus.close(),
});
