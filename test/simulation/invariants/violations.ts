import type { Simulator } from '../simulator.ts';

export interface Violation {
  readonly rule: string;
  readonly message: string;
  readonly step: number;
  readonly elapsedMs: number;
}

/** Collects what must never happen, and counts what was looked at: a checker that looked at nothing must not pass. */
export class Violations {
  readonly #sim: Simulator;
  readonly found: Violation[] = [];
  readonly checked = new Map<string, number>();

  constructor(sim: Simulator) {
    this.#sim = sim;
  }

  /** One look at a rule. `message` is made only when it is broken. */
  check(rule: string, holds: boolean, message: () => string): void {
    this.checked.set(rule, (this.checked.get(rule) ?? 0) + 1);
    if (holds) return;
    const { steps, elapsedMs } = this.#sim;
    this.found.push({ rule, message: message(), step: steps, elapsedMs });
  }
}
