/** A thing that is expensive to make and can be given up. */
export interface Releasable {
  release(): Promise<void>;
}

/**
 * The things that were used last, at most `size` of them. Not for concurrent use: the caller finishes with one before it asks for the next, so that
 * nothing is given up while it is used.
 */
export class ModelCache<T extends Releasable> {
  readonly #size: number;
  readonly #make: (key: string) => Promise<T>;
  readonly #kept = new Map<string, T>();

  constructor(size: number, make: (key: string) => Promise<T>) {
    this.#size = size;
    this.#make = make;
  }

  /** Made anew unless it is kept. The one that was used longest ago goes first, so that there are never more than `size` in memory. */
  async get(key: string): Promise<T> {
    const found = this.#kept.get(key);
    if (found !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, found);
      return found;
    }
    while (this.#kept.size >= this.#size) await this.#giveUpOldest();
    const made = await this.#make(key);
    this.#kept.set(key, made);
    return made;
  }

  async #giveUpOldest(): Promise<void> {
    const [oldest] = this.#kept;
    if (oldest === undefined) return;
    this.#kept.delete(oldest[0]);
    await oldest[1].release();
  }
}
