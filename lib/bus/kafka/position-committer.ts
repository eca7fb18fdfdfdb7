import { PartitionLostError, type Position } from '../port.ts';

/** Commits at most this often: a commit is a write of the brokers, and what it saves is a redelivery after a crash. */
const EVERY_MS = 50;
const RETRY_MS = 500;

/** Stores the newest position of each partition, one commit at a time, in the background. */
export class PositionCommitter {
  readonly #commit: (positions: readonly Position[]) => Promise<void>;
  #waiting = new Map<string, Position>();
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(commit: (positions: readonly Position[]) => Promise<void>) {
    this.#commit = commit;
  }

  add(positions: readonly Position[]): void {
    for (const p of positions) this.#waiting.set(key(p), p);
    // With nothing to store, `#run` would end before its promise is kept here, and that would look like a run under way for ever.
    if (!this.#closed && this.#waiting.size > 0) this.#running ??= this.#run();
  }

  /** Stores what waits, once; what cannot be stored comes again to whoever is next. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    if (this.#waiting.size > 0) await this.#store();
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0 && !this.#closed) {
      const stored = await this.#store();
      await new Promise((resolve) => setTimeout(resolve, stored ? EVERY_MS : RETRY_MS));
    }
    this.#running = null;
  }

  async #store(): Promise<boolean> {
    const positions = this.#waiting;
    this.#waiting = new Map();
    try {
      await this.#commit([...positions.values()]);
      return true;
    } catch (error) {
      const lost = new Set(error instanceof PartitionLostError ? error.partitions.map(key) : []);
      for (const [k, position] of positions) if (!lost.has(k) && !this.#waiting.has(k)) this.#waiting.set(k, position);
      return false;
    }
  }
}

const key = ({ topic, partition }: { topic: string; partition: number }): string => `${topic}/${partition}`;
