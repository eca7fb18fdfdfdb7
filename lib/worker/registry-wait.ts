import { setTimeout as delay } from 'node:timers/promises';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import { YieldedError } from './activity.ts';

export interface WaitClock {
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** Rejects when the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<unknown>;
}

export const MACHINE_CLOCK: WaitClock = {
  now: () => performance.now(),
  wait: (ms, signal) => delay(ms, undefined, { signal }),
};

/**
 * How long an attempt waits in its slot. Below the 15 minutes after which an attempt without a new step is stalled (STALL_FLOOR_MS), and
 * below every start-to-close time: either would burn one of the three attempts.
 */
export const PATIENCE_MS = 600_000;

const FIRST_PAUSE_MS = 1_000;
export const LONGEST_PAUSE_MS = 30_000;

/**
 * Asks the registry until it serves: `RegistryUnavailable` is no failure of the job, whose results are stored. Heartbeats go on meanwhile.
 * After ten minutes the attempt yields, so that another job gets the slot; it is queued again, burns no retry, and finds what it stored.
 * Any other error is thrown. `ask` must be repeatable, as every call of the port is.
 */
export async function whenRegistryServes<T>(
  platform: {
    readonly registry: ModelRegistry;
    readonly log: { warn(fields: object, message: string): void };
    readonly clock?: WaitClock;
  },
  signal: AbortSignal,
  ask: (registry: ModelRegistry) => Promise<T>,
): Promise<T> {
  const clock = platform.clock ?? MACHINE_CLOCK;
  const giveUpAt = clock.now() + PATIENCE_MS;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)) {
    try {
      return await ask(platform.registry);
    } catch (error) {
      if (!(error instanceof TrainyardError) || error.code !== 'RegistryUnavailable') throw error;
      platform.log.warn({ err: error, pauseMs }, 'the model registry does not serve, waiting');
      if (clock.now() + pauseMs >= giveUpAt) throw new YieldedError(null, 'RegistryUnavailable');
    }
    await clock.wait(pauseMs, signal);
  }
}
