const WINDOW_MS = 1_000;
/** Polling, heartbeats and probes of an idle service are 5 to 25 statements a second; one workflow at a time makes hundreds. */
const BUSY_STATEMENTS = 50;

/** Whether a process has work, by how many statements it began in this second and the one before. */
export class StatementRate {
  #windowAtMs = -Infinity;
  #count = 0;
  #before = 0;

  /** To be asked once per statement, at times that never go back. */
  isBusy(nowMs: number): boolean {
    const sinceMs = nowMs - this.#windowAtMs;
    if (sinceMs >= WINDOW_MS) {
      this.#before = sinceMs < 2 * WINDOW_MS ? this.#count : 0;
      this.#count = 0;
      this.#windowAtMs = nowMs;
    }
    this.#count++;
    return Math.max(this.#count, this.#before) > BUSY_STATEMENTS;
  }
}
