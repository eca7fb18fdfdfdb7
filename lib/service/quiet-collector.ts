/** How often somebody looks. */
const LOOK_EVERY_MS = 15_000;
/** Quiet: less than this share of a core since the last look. */
const QUIET_SHARE = 0.05;
/** Worth it: so much was worked, or the start happened, since the last collection. */
const WORTH_CPU_MS = 500;

/**
 * Decides when a process gives memory back: once after each busy time, its start included, when it has become quiet. V8 collects fully when
 * memory grows, so what a busy time left, 2 to 25 MB after a mere start, stays for hours in a process that allocates little.
 */
export class QuietCollector {
  readonly #cpuMs: () => number;
  readonly #collect: () => void;
  #cpuAtLookMs = 0;
  /** Before the first one everything is worth it: the start was work. */
  #cpuAtCollectionMs = -Infinity;

  /** `cpuMs`: CPU time of the process so far. `collect`: a full collection, 20 to 40 ms for a heap of 20 MB. */
  constructor(cpuMs: () => number, collect: () => void) {
    this.#cpuMs = cpuMs;
    this.#collect = collect;
  }

  /** To be called `sinceMs` after the last time; says whether it collected. */
  look(sinceMs: number): boolean {
    const cpuMs = this.#cpuMs();
    const isQuiet = cpuMs - this.#cpuAtLookMs < QUIET_SHARE * sinceMs;
    this.#cpuAtLookMs = cpuMs;
    if (!isQuiet || cpuMs - this.#cpuAtCollectionMs < WORTH_CPU_MS) return false;
    this.#collect();
    this.#cpuAtCollectionMs = this.#cpuMs();
    return true;
  }
}

/** For the life of this process, when it was started with `--expose-gc`; else V8 is left alone. */
export function collectWhenQuiet(): void {
  const { gc } = globalThis;
  if (gc === undefined) return;
  const collector = new QuietCollector(
    () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000;
    },
    // The last resort also shrinks the young generation and unmaps what is free; a plain collection keeps both.
    () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }),
  );
  setInterval(() => collector.look(LOOK_EVERY_MS), LOOK_EVERY_MS).unref();
}
