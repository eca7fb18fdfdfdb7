import type { Bus, OutgoingMessage } from '#lib/bus/port.ts';

/** A client is never kept waiting for the bus, and memory never grows with an outage: what does not fit is dropped and counted. */
const MAX_BUFFERED = 10_000;
/** Messages of one publication. */
const MAX_BATCH = 500;
/** Small batches of busy moments are worth waiting for; an observation is not urgent. */
const FLUSH_EVERY_MS = 200;
/** Wait after a publication that failed. */
const RETRY_MS = 1_000;

/** Publishes in the background, in order, what it is given. */
export class ObservationBuffer {
  readonly #bus: Pick<Bus, 'publish'>;
  readonly #onDropped: (count: number) => void;
  readonly #maxBuffered: number;
  #buffered: OutgoingMessage[] = [];
  #publishing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(
    bus: Pick<Bus, 'publish'>,
    options: { readonly onDropped: (count: number) => void; readonly maxBuffered?: number },
  ) {
    this.#bus = bus;
    this.#onDropped = options.onDropped;
    this.#maxBuffered = options.maxBuffered ?? MAX_BUFFERED;
  }

  get size(): number {
    return this.#buffered.length;
  }

  /** Returns at once; the message is dropped when the buffer is full. */
  add(message: OutgoingMessage): void {
    if (this.#closed || this.#buffered.length >= this.#maxBuffered) return this.#onDropped(1);
    this.#buffered.push(message);
    this.#schedule(FLUSH_EVERY_MS);
  }

  /** Publishes what is left, once; what the bus does not take then is dropped. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#publishing;
    if (await this.#publishAll()) return;
    this.#onDropped(this.#buffered.length);
    this.#buffered = [];
  }

  #schedule(inMs: number): void {
    if (this.#timer !== null || this.#publishing !== null || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#publishing = this.#publishAll().then((done) => {
        this.#publishing = null;
        if (this.#buffered.length > 0) this.#schedule(done ? FLUSH_EVERY_MS : RETRY_MS);
      });
    }, inMs);
  }

  /** False when the bus failed; what it did not take stays in front. */
  async #publishAll(): Promise<boolean> {
    while (this.#buffered.length > 0) {
      const batch = this.#buffered.slice(0, MAX_BATCH);
      try {
        await this.#bus.publish(batch);
      } catch {
        return false;
      }
      this.#buffered = this.#buffered.slice(batch.length);
    }
    return true;
  }
}
