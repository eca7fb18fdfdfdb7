import { expect, it } from 'vitest';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { type ActivityContext, YieldedError } from './activity.ts';
import { waitingForStore } from './store-wait.ts';

const away = (): TrainyardError => new TrainyardError('StoreUnavailable', 'connection refused');

/** A store that is back at a time of a clock which jumps to the end of every wait. */
function place(backAtMs: number) {
  const state = { atMs: 0, waits: [] as number[] };
  const platform = {
    store: {
      check: async () => {
        if (state.atMs < backAtMs) throw away();
      },
    },
    log: { warn: () => undefined },
    clock: {
      now: () => state.atMs,
      wait: async (ms: number, signal: AbortSignal) => {
        signal.throwIfAborted();
        state.waits.push(ms);
        state.atMs += ms;
      },
    },
  };
  return { state, platform };
}

const contextOf = (epoch: number, signal = new AbortController().signal): ActivityContext =>
  ({ workflowId: 'w', activityId: 'a', epoch, signal }) as ActivityContext;

const refused = { run: () => Promise.reject(away()) };

it('an attempt that the object store refuses waits until it serves, then yields, which burns no retry', async () => {
  const { state, platform } = place(9_000);
  const running = waitingForStore(refused, platform).run(contextOf(1));
  await expect(running).rejects.toEqual(new YieldedError(null, 'StoreUnavailable'));
  expect(state.waits).toEqual([1_000, 2_000, 4_000, 8_000]);
});

it('yields its slot also when the store stays away for ten minutes', async () => {
  const { state, platform } = place(Infinity);
  const running = waitingForStore(refused, platform).run(contextOf(1));
  await expect(running).rejects.toBeInstanceOf(YieldedError);
  expect(state.atMs).toBeGreaterThan(560_000);
  expect(state.atMs).toBeLessThanOrEqual(600_000);
});

it('waits longer before each attempt, so that a store that answers and still refuses does not fill the log', async () => {
  const waited = async (epoch: number): Promise<number[]> => {
    const { state, platform } = place(0);
    await expect(waitingForStore(refused, platform).run(contextOf(epoch))).rejects.toBeInstanceOf(YieldedError);
    return state.waits;
  };
  expect(await waited(1)).toEqual([1_000]);
  expect(await waited(4)).toEqual([8_000]);
  expect(await waited(60)).toEqual([30_000]);
});

it('any other failure, and any answer, is the activity’s own', async () => {
  const { state, platform } = place(0);
  const damaged = new TrainyardError('ChecksumMismatch', 'no');
  const failing = waitingForStore({ run: () => Promise.reject(damaged) }, platform);
  await expect(failing.run(contextOf(1))).rejects.toBe(damaged);
  expect(await waitingForStore({ run: async () => 'done' }, platform).run(contextOf(1))).toBe('done');
  expect(state.waits).toEqual([]);
});

it('an attempt that is told to stop does not wait', async () => {
  const { state, platform } = place(Infinity);
  const stopped = AbortSignal.abort('WorkerStopping');
  await expect(waitingForStore(refused, platform).run(contextOf(1, stopped))).rejects.toMatchObject({
    code: 'StoreUnavailable',
  });
  expect(state.waits).toEqual([]);
});
