import { createHash, type Hash } from 'node:crypto';
import { EventQueue, type QueuedEvent } from './event-queue.ts';
import type { SimRandom } from './sim-random.ts';

/** Something that will happen; `cancel` is idempotent. */
export interface Scheduled {
  cancel(): void;
}

/** Epoch milliseconds at which every simulation begins. */
export const SIMULATION_STARTS_MS = Date.UTC(2030, 0, 1);

/** Lines of the trace that a failure shows. */
const LINES_KEPT = 400;

/** Lines hashed at once. */
const HASHED_AT_ONCE = 512;

/**
 * The world's clock and its order of events. One step: the earliest event happens, then every promise it settled runs on until all wait for
 * a later event. What happens at the same millisecond happens in an order drawn from the seed; how long things take is drawn as well, so the
 * seed decides every interleaving. No real time, no real I/O.
 */
export class Simulator {
  readonly random: SimRandom;
  readonly #queue = new EventQueue();
  readonly #hash: Hash = createHash('sha256');
  #unhashed: string[] = [];
  #recent: string[] = [];
  #nowMs = SIMULATION_STARTS_MS;
  #steps = 0;
  readonly #onNote: ((line: string) => void) | null;

  /** `onNote` gets every line of the trace. */
  constructor(random: SimRandom, onNote: ((line: string) => void) | null = null) {
    this.random = random;
    this.#onNote = onNote;
  }

  /** The world's time, epoch ms: what a perfect clock shows. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get elapsedMs(): number {
    return this.#nowMs - SIMULATION_STARTS_MS;
  }

  get steps(): number {
    return this.#steps;
  }

  schedule(delayMs: number, label: string, run: () => void): Scheduled {
    const event: QueuedEvent = {
      atMs: this.#nowMs + Math.max(0, Math.round(delayMs)),
      tie: this.random.next(),
      label,
      run,
    };
    this.#queue.push(event);
    return { cancel: () => (event.run = null) };
  }

  /** Time of the next event, or null when nothing will ever happen again. */
  get nextAtMs(): number | null {
    return this.#queue.peek()?.atMs ?? null;
  }

  /** One event and all that follows from it at once. False when there is none left. */
  async step(): Promise<boolean> {
    for (;;) {
      const event = this.#queue.pop();
      if (event === null) return false;
      if (event.run === null) continue;
      this.#nowMs = Math.max(this.#nowMs, event.atMs);
      this.#steps += 1;
      this.note(event.label);
      event.run();
      await quiescence();
      return true;
    }
  }

  /** Nothing happens until then: for a driver that ties the world's time to something else. */
  passTime(untilMs: number): void {
    const next = this.nextAtMs;
    this.#nowMs = Math.max(this.#nowMs, next === null ? untilMs : Math.min(untilMs, next));
  }

  /** Steps until the condition holds (true) or the time is over (false). */
  async runUntil(done: () => boolean, untilMs: number): Promise<boolean> {
    while (!done()) {
      const next = this.nextAtMs;
      if (next === null || next > untilMs) return done();
      await this.step();
    }
    return true;
  }

  /** A line of the trace: part of the hash. Nothing in it may depend on real chance (job ids) or real time. */
  note(line: string): void {
    const full = `${this.elapsedMs} ${line}`;
    this.#onNote?.(full);
    this.#unhashed.push(full);
    if (this.#unhashed.length >= HASHED_AT_ONCE) this.#flush();
    this.#recent.push(full);
    if (this.#recent.length > 2 * LINES_KEPT) this.#recent = this.#recent.slice(-LINES_KEPT);
  }

  /** SHA-256 of everything that happened so far. */
  traceHash(): string {
    this.#flush();
    return this.#hash.copy().digest('hex');
  }

  recentTrace(lines = LINES_KEPT): readonly string[] {
    return this.#recent.slice(-lines);
  }

  #flush(): void {
    if (this.#unhashed.length === 0) return;
    this.#hash.update(`${this.#unhashed.join('\n')}\n`);
    this.#unhashed = [];
  }
}

/** All microtasks have run when the event loop comes to its next turn; nothing else of the loop is in use. */
const quiescence = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
