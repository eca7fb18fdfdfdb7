import { type ComputerClock, Life } from './life.ts';
import type { Simulator } from './simulator.ts';

/** What runs in a process; `stop` is its orderly end. */
export interface Program {
  readonly stop: () => Promise<void>;
}

/** Starts a program in a life. Throwing (or rejecting) is an exit with an error: the supervisor starts it anew. */
export type Boot = (life: Life, exit: (error: unknown) => void) => Promise<Program>;

/** A supervisor waits this long before it starts a process again, ms. */
const FASTEST_RESTART_MS = 20;
const SLOWEST_RESTART_MS = 3_000;

/** A supervisor kills what does not stop. */
const KILLED_AFTER_MS = 8_000;

/** One place of a process: a computer with its clock, and the supervisor that starts the process again whenever it ends. */
export class ProcessHost {
  readonly name: string;
  readonly kind: string;
  readonly computer: ComputerClock = { offsetMs: 0 };
  readonly #sim: Simulator;
  readonly #boot: Boot;
  #life: Life | null = null;
  #program: Program | null = null;
  #starts = 0;
  /** False: it stays down when it ends (it left). */
  #wanted = false;

  constructor(sim: Simulator, options: { kind: string; name: string; boot: Boot }) {
    this.#sim = sim;
    this.kind = options.kind;
    this.name = options.name;
    this.#boot = options.boot;
  }

  get life(): Life | null {
    return this.#life;
  }

  get wanted(): boolean {
    return this.#wanted;
  }

  start(): void {
    this.#wanted = true;
    if (this.#life !== null) return;
    this.#starts += 1;
    const life = new Life(this.#sim, `${this.name}.${this.#starts}`, this.computer);
    this.#life = life;
    this.#sim.note(`start ${life.name}`);
    this.#boot(life, () => this.#ended(life)).then(
      (program) => {
        if (this.#life === life) this.#program = program;
      },
      () => this.#ended(life),
    );
  }

  /** SIGKILL. */
  crash(): void {
    if (this.#life !== null) this.#ended(this.#life);
  }

  /** SIGTERM; SIGKILL when it takes too long. `leave`: it is not started again. */
  stop(leave = false): void {
    if (leave) this.#wanted = false;
    const life = this.#life;
    if (life === null) return;
    if (this.#program === null) return this.#ended(life);
    this.#program.stop().then(
      () => this.#ended(life),
      () => this.#ended(life),
    );
    this.#sim.schedule(KILLED_AFTER_MS, `kill ${life.name}`, () => this.#ended(life));
  }

  #ended(life: Life): void {
    if (this.#life !== life) return;
    this.#sim.note(`end ${life.name}`);
    life.end();
    this.#life = null;
    this.#program = null;
    const restart = (): void => {
      if (this.#wanted) this.start();
    };
    this.#sim.schedule(this.#sim.random.int(FASTEST_RESTART_MS, SLOWEST_RESTART_MS), `restart ${this.name}`, restart);
  }
}
