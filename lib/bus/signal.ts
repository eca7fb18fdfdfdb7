/** Wakes one waiter; a change between `version` and `wait` is not missed. */
export class Signal {
  #version = 0;
  #wake: (() => void) | null = null;

  get version(): number {
    return this.#version;
  }

  notify(): void {
    this.#version++;
    this.#wake?.();
  }

  /** Resolves true as soon as the version differs from `since`, false after `ms`. */
  async wait(since: number, ms: number): Promise<boolean> {
    if (this.#version !== since) return true;
    if (ms <= 0) return false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#wake = resolve;
    await promise;
    this.#wake = null;
    clearTimeout(timer);
    return this.#version !== since;
  }
}
