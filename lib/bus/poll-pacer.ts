/** Notifications arrive within a millisecond; this only bounds the wait when one is lost. */
const FIRST_PAUSE_MS = 100;
/** Once a fetch found something that no notification announced (a pooler between us and the database, a half-open connection). */
const DEAF_PAUSE_MS = 50;
/** An idle subscription asks once a second. */
const MAX_PAUSE_MS = 1_000;

/** How long a waiting `poll` goes without looking by itself: longer the longer nothing comes, short when notifications get lost. */
export class PollPacer {
  #pauseMs = FIRST_PAUSE_MS;
  #signalled = true;

  get pauseMs(): number {
    return this.#pauseMs;
  }

  /** A wait ended; `signalled` when a notification ended it. */
  waited(signalled: boolean): void {
    this.#signalled = signalled;
  }

  fetched(messages: number): void {
    if (this.#signalled) this.#pauseMs = Math.max(this.#pauseMs, FIRST_PAUSE_MS);
    else this.#pauseMs = messages > 0 ? DEAF_PAUSE_MS : Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
    this.#signalled = true;
  }

  /** The database did not answer: back off in the same way. */
  failed(): void {
    this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
  }
}
