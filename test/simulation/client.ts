import { TrainyardError } from '#lib/kernel/errors.ts';
import { cancelJob } from '../../services/gateway/app/job-commands.ts';
import type { Gateway } from '../../services/gateway/app/ports.ts';
import type { Faults } from './faults.ts';
import type { JobKind, JobRequest } from './job-kinds.ts';
import type { Life } from './life.ts';
import type { ProcessHost } from './process-host.ts';
import type { Simulator } from './simulator.ts';

/** A person waits this long for an answer, then asks again. */
const PATIENCE_MS = 1_500;

/** A gateway process serves requests while it lives. */
export type Gateways = ReadonlyMap<ProcessHost, (life: Life) => Gateway>;

/** What a client was promised. */
export interface Accepted {
  readonly request: JobRequest;
  readonly jobId: string;
  readonly atMs: number;
  /** World time at which a cancel request was answered with success. */
  cancelledAtMs: number | null;
}

/**
 * People with jobs: each request goes to one of the gateways, and again until there is an answer, under the same idempotency key. A gateway that dies
 * takes its requests with it.
 */
export class Clients {
  readonly #sim: Simulator;
  readonly #faults: Faults;
  readonly #gateways: Gateways;
  readonly accepted: Accepted[] = [];
  #open = 0;

  constructor(sim: Simulator, faults: Faults, gateways: Gateways) {
    this.#sim = sim;
    this.#faults = faults;
    this.#gateways = gateways;
  }

  /** Requests without an answer. */
  get waiting(): number {
    return this.#open;
  }

  submit(kind: JobKind, request: JobRequest): void {
    this.insist(
      (gateway) => kind.submit(gateway, request),
      (jobId) => {
        this.#sim.note(`accepted ${request.project}.${request.idempotencyKey}`);
        this.accepted.push({ request, jobId, atMs: this.#sim.nowMs, cancelledAtMs: null });
      },
    );
  }

  cancel(job: Accepted): void {
    this.#faults.count('cancel request');
    this.insist(
      async (gateway) => {
        try {
          await cancelJob(gateway, { id: job.jobId, project: job.request.project, by: 'somebody', reason: null });
          return true;
        } catch (error) {
          if (error instanceof TrainyardError && error.code === 'StateConflict') return false;
          throw error;
        }
      },
      (cancelled) => {
        if (cancelled) job.cancelledAtMs ??= this.#sim.nowMs;
      },
    );
  }

  /** Asks until it is answered; an answer that comes after the next try was sent counts as well, once. */
  insist<T>(ask: (gateway: Gateway, life: Life) => Promise<T>, answer: (value: T) => void = () => undefined): void {
    this.#open += 1;
    let answered = false;
    const attempt = (): void => {
      if (answered) return;
      const [host, serve] = this.#sim.random.pick([...this.#gateways]);
      const life = host.life;
      const again = this.#sim.schedule(PATIENCE_MS, 'client asks again', () => {
        this.#faults.count('repeated submit');
        attempt();
      });
      if (life === null || life.frozen) return;
      ask(serve(life), life).then(
        (value) => {
          again.cancel();
          if (answered) return;
          answered = true;
          this.#open -= 1;
          answer(value);
        },
        () => undefined,
      );
    };
    this.#sim.schedule(0, 'client asks', attempt);
  }
}
