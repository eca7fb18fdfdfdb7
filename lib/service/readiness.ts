import { messageOf } from '#lib/kernel/errors.ts';

export interface ReadinessReport {
  /** Who answers: ports are given again, and whoever asks may have found somebody else. */
  readonly service: string;
  readonly ready: boolean;
  readonly components: readonly { readonly name: string; readonly ready: boolean; readonly reason?: string }[];
}

type Check = () => Promise<void> | void;

/** A component that does not answer within this time counts as not ready: probes usually give up after 5 s. */
const CHECK_TIMEOUT_MS = 2_000;

/** Whether this process can serve: its phase (starting, serving, stopping) and one check per component it depends on. */
export class Readiness {
  readonly #checks = new Map<string, { readonly check: Check; readonly variable: string | undefined }>();
  #phase: 'starting' | 'serving' | 'stopping' = 'starting';
  #running: Promise<ReadinessReport> | null = null;
  readonly #service: string;

  constructor(service: string) {
    this.#service = service;
  }

  /**
   * `check` throws, with a reason for people, when the component cannot serve. A second check of a name replaces the first. `variable`: the
   * setting that says where the component is; every reason names it.
   */
  add(name: string, check: Check, variable?: string): void {
    this.#checks.set(name, { check, variable });
  }

  serving(): void {
    if (this.#phase === 'starting') this.#phase = 'serving';
  }

  stopping(): void {
    this.#phase = 'stopping';
  }

  /** Runs every check at once; callers that come while a run is under way share it, so that probes cannot pile up. Never rejects. */
  report(): Promise<ReadinessReport> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #run(): Promise<ReadinessReport> {
    const checks = [...this.#checks].map(async ([name, { check, variable = '' }]) => {
      const reason = await reasonOf(check);
      if (reason === null) return { name, ready: true };
      return { name, ready: false, reason: reason.includes(variable) ? reason : `${reason} (${variable})` };
    });
    const components = await Promise.all(checks);
    const process =
      this.#phase === 'serving'
        ? { name: 'process', ready: true }
        : { name: 'process', ready: false, reason: `the process is ${this.#phase}` };
    const all = [process, ...components];
    return { service: this.#service, ready: all.every((component) => component.ready), components: all };
  }
}

async function reasonOf(check: Check): Promise<string | null> {
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve(`no answer within ${CHECK_TIMEOUT_MS} ms`), CHECK_TIMEOUT_MS);
  try {
    return await Promise.race([
      late,
      Promise.resolve()
        .then(check)
        .then(() => null),
    ]);
  } catch (error) {
    return messageOf(error);
  } finally {
    clearTimeout(timer);
  }
}
