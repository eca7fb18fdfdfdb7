import type { Bus, OutgoingMessage } from '#lib/bus/port.ts';
import type { Clock } from '#lib/kernel/clock.ts';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { systemClock } from '#lib/service/system-clock.ts';

/** Wait before a batch that could not be published is tried again. */
const RETRY_MS = 250;

/** Messages that wait for the bus at most; a worker that is cut off from the bus for so long starts anew. */
const MAX_WAITING = 100_000;

/** What the bus says about one message before it writes any of its batch. */
const REFUSALS: readonly string[] = ['MessageTooLarge', 'ValidationFailed'] satisfies ErrorCode[];

/**
 * Publishes in order and in batches, one batch at a time, again and again until the bus takes it: an event of a worker is lost only
 * with its process, and then the lease brings the attempt back. A message that the bus will never take is dropped and reported: it must
 * not hold up the ones behind it.
 */
export class EventOutbox {
  readonly #bus: Pick<Bus, 'publish'>;
  readonly #onTrouble: (error: unknown) => void;
  readonly #clock: Clock;
  #waiting: OutgoingMessage[] = [];
  #publishing: Promise<void> | null = null;
  #closed = false;
  /** Messages to publish one at a time, because one of them is refused. */
  #singly = 0;

  constructor(bus: Pick<Bus, 'publish'>, onTrouble: (error: unknown) => void, clock: Clock = systemClock) {
    this.#bus = bus;
    this.#onTrouble = onTrouble;
    this.#clock = clock;
  }

  add(message: OutgoingMessage): void {
    this.#waiting.push(message);
    if (this.#waiting.length > MAX_WAITING) throw new Error(`more than ${MAX_WAITING} events wait for the bus`);
    this.#publishing ??= this.#publish();
  }

  /** Resolves when everything added so far is published, or when `boundMs` is over. */
  async flush(boundMs: number): Promise<void> {
    const bound = Promise.withResolvers<void>();
    const timer = this.#clock.after(boundMs, bound.resolve);
    while (this.#publishing !== null) {
      const before = this.#publishing;
      if ((await Promise.race([before.then(() => 'done'), bound.promise.then(() => 'late')])) === 'late') break;
    }
    timer.cancel();
    this.#closed = true;
  }

  async #publish(): Promise<void> {
    // One turn of the event loop collects what else happens now.
    await this.#clock.turn();
    while (this.#waiting.length > 0 && !this.#closed) {
      const batch = this.#waiting.splice(0, this.#singly > 0 ? 1 : this.#waiting.length);
      this.#singly = Math.max(0, this.#singly - 1);
      try {
        await this.#bus.publish(batch);
      } catch (error) {
        this.#onTrouble(error);
        const refused = error instanceof TrainyardError && REFUSALS.includes(error.code);
        if (refused && batch.length === 1) continue;
        this.#waiting = [...batch, ...this.#waiting];
        if (refused) this.#singly = batch.length;
        else await this.#clock.sleep(RETRY_MS);
      }
    }
    this.#publishing = null;
  }
}
