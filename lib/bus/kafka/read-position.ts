import type { ReceivedMessage, TopicPartition } from '../port.ts';

/** One assigned partition as this process reads it. Offsets: `next` is the next to be returned by `poll`, `fetched` the next to be fetched. */
export class ReadPosition {
  readonly topic: string;
  readonly partition: number;
  #next: number;
  #fetched: number;
  #buffer: ReceivedMessage[] = [];
  /** Index of the first message of the buffer that was not returned: no shifting of a long array at each poll. */
  #head = 0;

  constructor({ topic, partition }: TopicPartition, offset: number) {
    this.topic = topic;
    this.partition = partition;
    this.#next = offset;
    this.#fetched = offset;
  }

  get next(): number {
    return this.#next;
  }

  get fetched(): number {
    return this.#fetched;
  }

  get buffered(): number {
    return this.#buffer.length - this.#head;
  }

  /**
   * Takes a fetched batch; `from` is the offset that was asked for. False when it begins behind what is needed next: taking it would skip
   * messages. What was taken before is left out.
   */
  accept(from: number, messages: readonly ReceivedMessage[], end: number): boolean {
    if (from > this.#fetched) return false;
    for (const message of messages) if (message.offset >= this.#fetched) this.#buffer.push(message);
    this.#fetched = Math.max(this.#fetched, end);
    return true;
  }

  take(limit: number): ReceivedMessage[] {
    const taken = this.#buffer.slice(this.#head, this.#head + limit);
    this.#head += taken.length;
    if (this.#head === this.#buffer.length) {
      this.#buffer = [];
      this.#head = 0;
    }
    const last = taken.at(-1);
    if (last !== undefined) this.#next = last.offset + 1;
    return taken;
  }

  /** Forgets what was fetched and not returned: the client fetches it again. */
  dropFetched(): void {
    this.moveTo(this.#next);
  }

  moveTo(offset: number): void {
    this.#buffer = [];
    this.#head = 0;
    this.#next = offset;
    this.#fetched = offset;
  }
}
