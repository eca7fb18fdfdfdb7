import { Type } from '#typebox';
import { describe, expect, it } from 'vitest';
import type { ExecuteActivity } from '#lib/contracts/generated/messages.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { type Activity, type ActivityContext, ActivityError, YieldedError } from './activity.ts';
import { Attempt, type AttemptEnd } from './attempt.ts';

const command = (change: Partial<ExecuteActivity> = {}): ExecuteActivity => ({
  workflowId: 'wf',
  activityId: 'a',
  epoch: 2,
  jobId: 'job',
  project: 'demo',
  activity: 'a',
  workerId: 'w',
  inputJson: '{"n":1}',
  heartbeatEveryMs: 1_000,
  deadlineAtMs: 1e9,
  resumeJson: null,
  ...change,
});
const run = (activity: Activity, change: Partial<ExecuteActivity> = {}): Promise<AttemptEnd> =>
  new Attempt(command(change), 0).run(activity, () => undefined);
const returning = (output: unknown): Activity => ({ run: async () => output });
const throwing = (error: unknown): Activity => ({
  run: async () => {
    throw error;
  },
});

describe('what an activity is given', () => {
  it('is the command: ids, epoch, input and the newest checkpoint', async () => {
    let seen: ActivityContext | null = null;
    const resume = { step: 5, manifestKey: 'k', digest: 'd', epoch: 1 };
    await run({ run: async (context) => void (seen = context) }, { resumeJson: JSON.stringify(resume) });
    expect(seen).toMatchObject({ workflowId: 'wf', activityId: 'a', epoch: 2, jobId: 'job', project: 'demo', resume });
    expect(seen).toMatchObject({ input: { n: 1 } });
  });

  it('a wrong input fails for good, naming the member, and the activity does not run', async () => {
    let ran = false;
    const activity: Activity = { input: Type.Object({ n: Type.String() }), run: async () => (ran = true) };
    const end = await run(activity);
    expect(end).toMatchObject({ kind: 'failed', code: 'ValidationFailed', retryable: false });
    expect(end).toMatchObject({ message: expect.stringContaining('/n') });
    expect(ran).toBe(false);
  });

  it('an input that is not JSON fails the attempt, not the worker', async () => {
    expect(await run(returning(1), { inputJson: '{' })).toMatchObject({ kind: 'failed', code: 'Internal' });
  });

  it('asks to end once, with the first reason', async () => {
    const attempt = new Attempt(command(), 0);
    const ended = attempt.run(
      {
        run: ({ signal }) =>
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(new YieldedError(7)))),
      },
      () => undefined,
    );
    attempt.end('WorkerStopping');
    attempt.end('Revoked');
    expect(await ended).toEqual({ kind: 'yielded', reason: 'WorkerStopping', step: 7 });
  });

  it('may yield by itself, and says why', async () => {
    const end = await run(throwing(new YieldedError(null, 'RegistryUnavailable')));
    expect(end).toEqual({ kind: 'yielded', reason: 'RegistryUnavailable', step: null });
  });
});

describe('an output', () => {
  it('is JSON; nothing is null', async () => {
    expect(await run(returning({ a: [1] }))).toEqual({ kind: 'completed', outputJson: '{"a":[1]}' });
    expect(await run(returning(undefined))).toEqual({ kind: 'completed', outputJson: 'null' });
  });

  it('may be as large as the limit in bytes, not larger', async () => {
    expect(await run(returning('x'.repeat(262_142)))).toMatchObject({ kind: 'completed' });
    expect(await run(returning('x'.repeat(262_143)))).toMatchObject({ kind: 'failed', code: 'Internal' });
    expect(await run(returning('ä'.repeat(131_072)))).toMatchObject({ kind: 'failed' });
  });

  it('loses what the database cannot hold: NUL characters and halves of surrogate pairs', async () => {
    const text = 'a\u0000b\ud83dc\\u0000';
    expect(await run(returning({ samples: [{ text }] }))).toEqual({
      kind: 'completed',
      outputJson: JSON.stringify({ samples: [{ text: 'ab\ufffdc\\u0000' }] }),
    });
  });

  it('that is no JSON fails the attempt', async () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const output of [circle, 1n, () => 1])
      expect(await run(returning(output))).toMatchObject({ kind: 'failed', code: 'Internal' });
  });
});

describe('a failure', () => {
  it('of the catalogue can be tried again where the catalogue says so', async () => {
    expect(await run(throwing(new TrainyardError('ServiceUnavailable', 'm')))).toMatchObject({ retryable: true });
    expect(await run(throwing(new TrainyardError('ValidationFailed', 'm')))).toMatchObject({ retryable: false });
  });

  it('that is made of many lists the first 50 of them: the message names one', async () => {
    const fields = Array.from({ length: 60 }, (_, i) => ({ pointer: `/lines/${i + 1}`, message: 'is no JSON' }));
    const end = await run(throwing(new TrainyardError('DatasetMalformedLine', '60 lines', { fields })));
    if (end.kind !== 'failed') throw new Error(end.kind);
    expect(end.logTail).toHaveLength(50);
    expect(end.logTail.at(-1)).toBe('/lines/50: is no JSON');
  });

  it('of a program keeps its code and the last 50 lines of its log, each cut', async () => {
    const logTail = Array.from({ length: 60 }, (_, i) => `${i} ${'x'.repeat(1_000)}\u0000`);
    const end = await run(throwing(new ActivityError('OwnCode', 'm', { retryable: false, logTail })));
    if (end.kind !== 'failed') throw new Error(end.kind);
    expect(end).toMatchObject({ code: 'OwnCode', retryable: false });
    expect(end.logTail).toHaveLength(50);
    expect(end.logTail[0]).toMatch(/^10 x/);
    expect(Math.max(...end.logTail.map((line) => line.length))).toBe(500);
  });

  it('has no NUL characters and at most 4,096 characters in its message', async () => {
    const end = await run(throwing(new Error(`a\u0000b${'x'.repeat(10_000)}`)));
    if (end.kind !== 'failed') throw new Error(end.kind);
    expect(end.message).toHaveLength(4_096);
    expect(end.message).toMatch(/^abx/);
  });

  it('that is a bug can be tried again and shows where it happened', async () => {
    const end = await run(throwing(new TypeError('oops')));
    expect(end).toMatchObject({ kind: 'failed', code: 'Internal', message: 'oops', retryable: true });
    expect(end.kind === 'failed' && end.logTail.join('\n')).toContain('attempt.test.ts');
  });

  it('may be anything that was thrown, at once or later', async () => {
    expect(await run(throwing('text'))).toMatchObject({ code: 'Internal', message: 'text' });
    expect(await run(throwing(null))).toMatchObject({ code: 'Internal', message: 'null' });
    const atOnce: Activity = {
      run: () => {
        throw new Error('now');
      },
    };
    expect(await run(atOnce)).toMatchObject({ message: 'now' });
  });
});

describe('progress', () => {
  const talking = (say: (context: ActivityContext) => void) => {
    const attempt = new Attempt(command(), 0);
    return attempt.run({ run: async (context) => say(context) }, () => undefined).then(() => attempt);
  };

  it('is the newest; curves are handed over once', async () => {
    const attempt = await talking(({ progress, metrics }) => {
      progress({ step: 1, stepsTotal: 10, throughput: 5 });
      progress({ step: 2, stepsTotal: 10 });
      metrics([{ name: 'loss', step: 1, value: 3 }]);
    });
    expect(attempt.hasMetrics).toBe(true);
    expect(attempt.takeProgress()).toEqual({
      progress: { step: 2, stepsTotal: 10, throughput: 5 },
      metrics: [{ name: 'loss', step: 1, value: 3 }],
    });
    expect(attempt.takeProgress().metrics).toEqual([]);
  });

  it('keeps at most 2,000 points for one heartbeat, the oldest', async () => {
    const attempt = await talking(({ metrics }) => {
      for (let step = 0; step < 3_000; step++) metrics([{ name: 'loss', step, value: 1 }]);
    });
    const { metrics } = attempt.takeProgress();
    expect(metrics).toHaveLength(2_000);
    expect(metrics.at(-1)?.step).toBe(1_999);
  });
});
