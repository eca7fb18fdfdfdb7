import { type PreparedMessage, prepareMessages } from './message-arrays.ts';
import type { OutgoingMessage } from './port.ts';
import { PublishQueue } from './publish-queue.ts';

/** Partition counts by topic, as a bus knows them. */
export interface PartitionCounts {
  /** Throws `NotFound` for a topic that nobody created. Afterwards `partitionsOf` knows them all. */
  load(topics: Iterable<string>): Promise<void>;
  readonly partitionsOf: (topic: string) => number;
}

/** Checks messages and writes them in the order of the calls, one write at a time; calls made meanwhile share the next one. */
export class OrderedPublisher {
  readonly #topics: PartitionCounts;
  readonly #queue: PublishQueue;
  #entrance: Promise<unknown> = Promise.resolve();

  constructor(topics: PartitionCounts, write: (messages: readonly PreparedMessage[]) => Promise<void>) {
    this.#topics = topics;
    this.#queue = new PublishQueue(write);
  }

  /**
   * Durable when it resolves. Throws `MessageTooLarge`, `NotFound` (topic), `ValidationFailed` (partition, key) before anything is
   * written, and what `write` throws: the outcome is unknown then.
   */
  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    if (messages.length === 0) return;
    // In turn: looking up a topic for the first time must not let a later call pass. Refused before the queue, a bad message
    // cannot spoil the write it would share with others.
    const queued = this.#entrance.then(async () => {
      const prepared = await this.prepare(messages);
      return { written: this.#queue.add(prepared) };
    });
    this.#entrance = queued.catch(() => undefined);
    await (await queued).written;
  }

  /** The same for messages that were checked before. */
  async publishPrepared(messages: readonly PreparedMessage[]): Promise<void> {
    if (messages.length > 0) await this.#queue.add(messages);
  }

  async prepare(messages: readonly OutgoingMessage[]): Promise<PreparedMessage[]> {
    await this.#topics.load(messages.map((message) => message.topic));
    return prepareMessages(messages, this.#topics.partitionsOf);
  }

  /** Resolves when everything published so far is written or refused. */
  async settled(): Promise<void> {
    await this.#entrance;
    await this.#queue.settled();
  }
}
