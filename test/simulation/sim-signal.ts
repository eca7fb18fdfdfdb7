import type { Clock } from '#lib/kernel/clock.ts';

/** Wakes one waiter; a change between `version` and `wait` is not missed. */
export class SimSignal {
  readonly #clock: Clock;
  #version = 0;
  #wake: (() => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get version(): number {
    return this.#version;
  }

  notify(): void {
    this.#version += 1;
    this.#wake?.();
  }

  /** Resolves as soon as the version differs from `since`, or after `ms`. */
  async wait(since: number, ms: number): Promise<void> {
    if (this.#version !== since) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(ms, resolve);
    this.#wake = resolve;
    await promise;
    this.#wake = null;
    timer.cancel();
  }
}
