import type { Clock, Timer } from '#lib/kernel/clock.ts';
import type { Scheduled, Simulator } from './simulator.ts';

/** The clock of one computer: how far it is off. Outlives the processes on it. */
export interface ComputerClock {
  offsetMs: number;
}

/**
 * One life of a process, from its start to its crash or exit. Everything that calls into its code goes through `run`: a dead process is
 * never called again (its promises stay open for ever, as if its memory were gone), a frozen one is called when it thaws.
 */
export class Life {
  readonly name: string;
  readonly #sim: Simulator;
  readonly #computer: ComputerClock;
  #alive = true;
  #frozen = false;
  #held: (() => void)[] = [];
  /** Cut off from everything until then, world time. */
  cutOffUntilMs = 0;

  constructor(sim: Simulator, name: string, computer: ComputerClock) {
    this.#sim = sim;
    this.name = name;
    this.#computer = computer;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Calls into the process's code: now, when it thaws, or never. */
  run(call: () => void): void {
    if (!this.#alive) return;
    if (this.#frozen) this.#held.push(call);
    else call();
  }

  after(delayMs: number, label: string, call: () => void): Scheduled {
    return this.#sim.schedule(delayMs, `${this.name} ${label}`, () => this.run(call));
  }

  end(): void {
    this.#alive = false;
    this.#held = [];
  }

  freeze(): void {
    this.#frozen = true;
  }

  /** What came due meanwhile comes in a drawn order, one by one: another event may come between any two. */
  thaw(): void {
    this.#frozen = false;
    for (const call of this.#held.splice(0)) this.after(0, 'thawed', call);
  }

  /** Time as this process sees it. */
  readonly clock: Clock = {
    now: () => this.#sim.nowMs + this.#computer.offsetMs,
    sleep: (ms) => new Promise((resolve) => this.after(ms, 'sleep', resolve)),
    turn: () => new Promise((resolve) => this.after(0, 'turn', resolve)),
    after: (ms, call) => {
      let cancelled = false;
      const scheduled = this.after(ms, 'timer', () => {
        if (!cancelled) call();
      });
      return {
        cancel: () => {
          cancelled = true;
          scheduled.cancel();
        },
      };
    },
    every: (ms, call) => this.#every(ms, call),
  };

  #every(ms: number, call: () => void): Timer {
    let scheduled: Scheduled | null = null;
    let cancelled = false;
    const next = (): void => {
      scheduled = this.after(ms, 'interval', () => {
        if (cancelled) return;
        next();
        call();
      });
    };
    next();
    return {
      cancel: () => {
        cancelled = true;
        scheduled?.cancel();
      },
    };
  }
}
