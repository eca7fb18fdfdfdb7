/**
 * The memory for parts on their way: at most `limit` buffers in use at once, whoever asks, in the order of asking. Buffers are kept
 * while somebody uses one and given back when nobody does.
 */
export class PartBuffers {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #free: Buffer[] = [];
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs the work with a buffer of `bytes`; the buffer belongs to others afterwards. */
  async use<T>(bytes: number, work: (buffer: Buffer) => Promise<T>): Promise<T> {
    if (this.#used === this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#used++;
    const found = this.#free.pop();
    const buffer = found === undefined || found.length < bytes ? Buffer.allocUnsafeSlow(bytes) : found;
    try {
      return await work(buffer.subarray(0, bytes));
    } finally {
      this.#free.push(buffer);
      const next = this.#waiting.shift();
      // The place is handed on: nobody who asks in between can take it.
      if (next !== undefined) next();
      else if (--this.#used === 0) this.#free = [];
    }
  }
}
