import type { FaultKind, Faults } from './faults.ts';
import type { Life } from './life.ts';
import type { Simulator } from './simulator.ts';

/** Something behind the network that answers calls. */
export interface Server {
  readonly name: string;
  /** Nobody reaches it before then, world time. */
  downUntilMs: number;
  /** The error a client sees when it cannot be reached; the outcome of the call is then unknown. */
  unreachable(): Error;
  /** An error that the server itself answers with, having done nothing. */
  refusal(): Error;
}

/** An ordinary way over the network, one direction, ms. */
const FASTEST_MS = 0;
const SLOWEST_MS = 3;

/** A slow one; a very slow one outlives sessions and leases. */
const SLOW_MS = 400;
const VERY_SLOW_MS = 12_000;

/** How long a client takes to see that its connection broke. */
const NOTICED_AFTER_MS = 300;

/**
 * Calls from processes to servers. A call is three events: it is sent, it takes effect (at once and whole), its answer arrives. Between any two of them
 * everything else may happen: the caller may die, freeze or lose its connection, which leaves it without knowing whether the effect came about.
 */
export class Network {
  readonly #sim: Simulator;
  readonly #faults: Faults;

  constructor(sim: Simulator, faults: Faults) {
    this.#sim = sim;
    this.#faults = faults;
  }

  call<T>(life: Life, server: Server, what: string, effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error, afterMs: number): void =>
        void life.after(afterMs, `< ${what} failed`, () => reject(error));
      if (this.#unreachable(life, server)) return fail(server.unreachable(), this.#wayMs());
      if (this.#faults.strikes('requestLost', 'request lost')) return fail(server.unreachable(), this.#noticedMs());
      const answerLost = this.#faults.strikes('answerLost', 'answer lost');
      this.#sim.schedule(this.#requestMs(), `${life.name} > ${what}`, () => {
        // A request that its process did not live to see through may have left the computer or not.
        if (!life.alive && this.#sim.random.chance(0.5)) return;
        if (this.#unreachable(life, server)) return fail(server.unreachable(), this.#noticedMs());
        if (this.#faults.strikes('serverError', 'server error')) return fail(server.refusal(), this.#wayMs());
        const outcome = attempt(effect);
        if (answerLost) return fail(server.unreachable(), this.#noticedMs());
        const answer = (): void => (outcome.ok ? resolve(outcome.value) : reject(outcome.error));
        life.after(this.#answerMs(), `< ${what}`, answer);
      });
    });
  }

  /** A message without an answer, to a process; it may get lost. */
  notify(to: Life, what: string, rateKind: FaultKind, call: () => void): void {
    if (this.#faults.strikes('notificationLost', rateKind)) return;
    if (to.cutOffUntilMs > this.#sim.nowMs) return;
    to.after(this.#answerMs(), what, call);
  }

  #unreachable(life: Life, server: Server): boolean {
    const now = this.#sim.nowMs;
    return server.downUntilMs > now || life.cutOffUntilMs > now;
  }

  #wayMs(): number {
    return this.#sim.random.int(FASTEST_MS, SLOWEST_MS);
  }

  #noticedMs(): number {
    return this.#sim.random.int(0, NOTICED_AFTER_MS);
  }

  #requestMs(): number {
    if (this.#faults.strikes('verySlow', 'very slow request')) return this.#sim.random.int(SLOW_MS, VERY_SLOW_MS);
    return this.#faults.strikes('slow', 'slow request') ? this.#sim.random.int(SLOWEST_MS, SLOW_MS) : this.#wayMs();
  }

  #answerMs(): number {
    return this.#faults.strikes('slow', 'slow answer') ? this.#sim.random.int(SLOWEST_MS, SLOW_MS) : this.#wayMs();
  }
}

type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

function attempt<T>(effect: () => T): Outcome<T> {
  try {
    return { ok: true, value: effect() };
  } catch (error) {
    return { ok: false, error };
  }
}
