import { describe, expect, it } from 'vitest';
import type { Listener } from '#lib/postgres/listening-connection.ts';
import type { OpenTraffic } from './split.ts';
import { TrafficView } from './traffic-view.ts';

/** A store that counts, a clock by hand, and notifications by hand. */
function scene() {
  const state = { now: 0, reads: 0, prodVersion: 1, listeners: 0, fails: false };
  let notify: (channel: string, payload: string) => void = () => undefined;
  const store = {
    trafficOf: async (): Promise<OpenTraffic> => {
      state.reads++;
      if (state.fails) throw new Error('away');
      return { prodVersion: state.prodVersion, split: null };
    },
  };
  const database = {
    listen: (_channels: readonly string[], onNotify: typeof notify) => {
      state.listeners++;
      notify = onNotify;
      return { close: async () => void state.listeners-- } as unknown as Listener;
    },
  };
  const view = new TrafficView(store, database, () => state.now);
  const prod = async (model = 'm'): Promise<number | null> => (await view.trafficOf('p', model)).prodVersion;
  return { state, view, prod, notify: (payload: string) => notify('model_stages', payload) };
}

describe('the traffic view', () => {
  it('answers from memory for a second, and not longer without a notification', async () => {
    const { state, prod } = scene();
    await prod();
    state.prodVersion = 2;
    state.now = 999;
    expect([await prod(), state.reads]).toEqual([1, 1]);
    state.now = 1_000;
    expect([await prod(), state.reads]).toEqual([2, 2]);
  });

  it('forgets at once what it is told has changed, and that alone', async () => {
    const { state, prod, notify } = scene();
    await prod('m');
    await prod('n');
    state.prodVersion = 2;
    notify('["p", "m"]');
    expect([await prod('m'), await prod('n'), state.reads]).toEqual([2, 1, 3]);
    // After a reconnection anything may have changed.
    notify('');
    expect(await prod('n')).toBe(2);
  });

  it('asks once for many requests at a time, and listens from the first on', async () => {
    const { state, prod, view } = scene();
    expect(state.listeners).toBe(0);
    await Promise.all(Array.from({ length: 50 }, () => prod()));
    expect([state.reads, state.listeners]).toEqual([1, 1]);
    await view.close();
    expect(state.listeners).toBe(0);
  });

  it('never answers with what is too old because the database is away', async () => {
    const { state, prod } = scene();
    await prod();
    state.now = 2_000;
    state.fails = true;
    await expect(prod()).rejects.toThrow('away');
    state.fails = false;
    expect(await prod()).toBe(1);
  });
});
