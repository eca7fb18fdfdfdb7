import { messageOf } from '#lib/kernel/errors.ts';
import type { Logger } from '#lib/service/logger.ts';
import type { EventRecord } from '../postgres/event-queries.ts';

/** One open event stream. */
export interface Follower {
  readonly workflowId: string;
  /** Position: everything up to here was delivered. */
  afterSeq: number;
  /** False while the client does not keep up: it is left out until it does. */
  ready(): boolean;
  deliver(events: readonly EventRecord[]): void;
  /** The log is complete and delivered, or the gateway stops. */
  end(): void;
}

export type ReadTails = (
  streams: readonly { readonly workflowId: string; readonly afterSeq: number }[],
  limitEach: number,
) => Promise<{ events: EventRecord[]; complete: boolean }[]>;

/** How stale a stream may be. One statement serves all streams, so this does not grow with them. */
const INTERVAL_MS = 200;
const EVENTS_EACH = 500;
/** Streams looked at by one statement. */
const BATCH = 200;
/** Every stream is a connection and a place in each statement. */
const MAX_FOLLOWERS = 2_000;

/** Follows the event logs for all open streams together. */
export class EventTail {
  readonly #read: ReadTails;
  readonly #logger: Logger;
  readonly #followers = new Set<Follower>();
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(read: ReadTails, logger: Logger) {
    this.#read = read;
    this.#logger = logger;
  }

  get full(): boolean {
    return this.#followers.size >= MAX_FOLLOWERS;
  }

  follow(follower: Follower): void {
    if (this.#closed) return follower.end();
    this.#followers.add(follower);
    this.#timer ??= setTimeout(() => void this.#turn(), 0);
  }

  unfollow(follower: Follower): void {
    this.#followers.delete(follower);
  }

  /** Ends every stream; clients come back with `Last-Event-ID`. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const follower of this.#followers) follower.end();
    this.#followers.clear();
  }

  async #turn(): Promise<void> {
    let more = false;
    try {
      const ready = [...this.#followers].filter((follower) => follower.ready());
      for (let from = 0; from < ready.length; from += BATCH)
        if (await this.#serve(ready.slice(from, from + BATCH))) more = true;
    } catch (error) {
      this.#logger.warn({ reason: messageOf(error) }, 'event streams wait: the log cannot be read');
    }
    this.#timer = null;
    if (this.#closed || this.#followers.size === 0) return;
    this.#timer = setTimeout(() => void this.#turn(), more ? 0 : INTERVAL_MS);
  }

  async #serve(batch: readonly Follower[]): Promise<boolean> {
    const tails = await this.#read(batch, EVENTS_EACH);
    let more = false;
    batch.forEach((follower, index) => {
      const tail = tails[index];
      if (tail === undefined || !this.#followers.has(follower)) return;
      if (tail.events.length > 0) follower.deliver(tail.events);
      follower.afterSeq = tail.events.at(-1)?.seq ?? follower.afterSeq;
      if (tail.events.length === EVENTS_EACH) more = true;
      if (!tail.complete) return;
      this.#followers.delete(follower);
      follower.end();
    });
    return more;
  }
}
