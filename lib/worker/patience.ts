import { setTimeout as delay } from 'node:timers/promises';

export interface WaitClock {
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** Rejects when the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<unknown>;
}

const MACHINE_CLOCK: WaitClock = {
  now: () => performance.now(),
  wait: (ms, signal) => delay(ms, undefined, { signal }),
};

/**
 * How long an attempt waits in its slot. Below the 15 minutes after which an attempt without a new step is stalled (STALL_FLOOR_MS), and
 * below every start-to-close time: either would burn one of the three attempts.
 */
const PATIENCE_MS = 600_000;

export const FIRST_PAUSE_MS = 1_000;
export const LONGEST_PAUSE_MS = 30_000;

/**
 * Comes back after growing pauses, each double the one before and 30 s at most, until ten minutes are over. Heartbeats go on meanwhile.
 * Rejects when the signal is aborted.
 */
export async function* pauses(
  firstPauseMs: number,
  { clock = MACHINE_CLOCK, signal }: { readonly clock?: WaitClock | undefined; readonly signal: AbortSignal },
): AsyncGenerator<undefined> {
  const giveUpAt = clock.now() + PATIENCE_MS;
  for (
    let pauseMs = firstPauseMs;
    clock.now() + pauseMs < giveUpAt;
    pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)
  ) {
    await clock.wait(pauseMs, signal);
    yield;
  }
}
