import { describe, expect, it } from 'vitest';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import { YieldedError } from './activity.ts';
import { whenRegistryServes } from './registry-wait.ts';

/** A clock that jumps to the end of every wait. */
function simulated() {
  const clock = { atMs: 0, waits: [] as number[] };
  const platform = {
    registry: {} as ModelRegistry,
    log: { warn: () => undefined },
    clock: {
      now: () => clock.atMs,
      wait: async (ms: number, signal: AbortSignal) => {
        signal.throwIfAborted();
        clock.waits.push(ms);
        clock.atMs += ms;
      },
    },
  };
  return { clock, platform };
}

const away = (): TrainyardError => new TrainyardError('RegistryUnavailable', 'away');
const { signal } = new AbortController();

describe('an activity whose model registry is away', () => {
  it('asks again with growing pauses until it serves', async () => {
    const { clock, platform } = simulated();
    const answer = await whenRegistryServes(platform, signal, async () => {
      if (clock.atMs < 200_000) throw away();
      return 'served';
    });
    expect(answer).toBe('served');
    expect(clock.waits.slice(0, 7)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(clock.atMs).toBeLessThan(231_000);
  });

  it('yields its slot after ten minutes, which burns no retry', async () => {
    const { clock, platform } = simulated();
    const waiting = whenRegistryServes(platform, signal, () => Promise.reject(away()));
    await expect(waiting).rejects.toEqual(new YieldedError(null, 'RegistryUnavailable'));
    expect(clock.atMs).toBeGreaterThan(560_000);
    expect(clock.atMs).toBeLessThanOrEqual(600_000);
  });

  it('throws any other error at once', async () => {
    const { clock, platform } = simulated();
    const wrong = new TrainyardError('StateConflict', 'no');
    await expect(whenRegistryServes(platform, signal, () => Promise.reject(wrong))).rejects.toBe(wrong);
    expect(clock.waits).toEqual([]);
  });

  it('ends its wait when it is told to stop', async () => {
    const stop = new AbortController();
    const { clock: _, ...onMachineClock } = simulated().platform;
    const waiting = whenRegistryServes(onMachineClock, stop.signal, () => Promise.reject(away()));
    setImmediate(() => stop.abort('WorkerStopping'));
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
  });
});
