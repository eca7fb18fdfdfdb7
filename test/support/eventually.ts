import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** Default 10,000 ms. */
  readonly withinMs?: number;
  /** Pause between two tries; default 20 ms. */
  readonly everyMs?: number;
}

/**
 * Calls `attempt` until it neither throws nor answers `false`, and returns its value. Fails after the bound with the error of the last try
 * in the message, so that the log says what was missing and not only that time ran out.
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<Exclude<T, false>> {
  const withinMs = options.withinMs ?? 10_000;
  const deadline = performance.now() + withinMs;
  for (let tries = 1; ; tries++) {
    let cause: unknown;
    try {
      const value = await attempt();
      if (value !== false) return value as Exclude<T, false>;
      cause = new Error('the condition is false');
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`not within ${withinMs} ms (${tries} tries): ${reason}`, { cause });
    }
    await delay(options.everyMs ?? 20);
  }
}
