import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';

/** The one source of chance of a run: everything that is random is drawn from here, in the order of the steps. */
export class SimRandom {
  readonly #stream: RandomStream;

  constructor(seed: number) {
    this.#stream = mulberry32(seed);
    // The first numbers of neighbouring seeds are alike.
    for (let i = 0; i < 8; i++) this.#stream.next();
  }

  /** Uniform in [0, 1). */
  next(): number {
    return this.#stream.next();
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.#stream.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    // Drawn in any case: a rate of 0 must not shift the numbers that follow.
    return this.#stream.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    const value = list[Math.floor(this.#stream.next() * list.length)];
    if (value === undefined && list.length === 0) throw new Error('nothing to pick from');
    return value as T;
  }

  /** Waiting time of a Poisson process, ms; at most eight times the mean. */
  interval(meanMs: number): number {
    return Math.min(8 * meanMs, Math.round(-Math.log(1 - this.#stream.next()) * meanMs));
  }
}
