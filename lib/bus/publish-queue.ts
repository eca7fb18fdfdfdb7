import { TrainyardError } from '#lib/kernel/errors.ts';
import type { PreparedMessage } from './message-arrays.ts';

/** A statement of this many messages costs 14 ms of CPU; larger ones gain nothing and delay the next caller. */
const MAX_BATCH_MESSAGES = 2_000;
const MAX_BATCH_BYTES = 8 * 1_048_576;
/** Beyond this the database is too slow for its callers: better to refuse than to grow until memory ends. */
const MAX_QUEUED_MESSAGES = 100_000;

interface Waiting {
  readonly messages: readonly PreparedMessage[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Callers that arrive while a write is under way share the next one: one commit for all of them, in the order of their calls.
 * Without a write under way nobody waits. One call is never split, so it is written whole or not at all.
 */
export class PublishQueue {
  readonly #write: (messages: readonly PreparedMessage[]) => Promise<void>;
  #waiting: Waiting[] = [];
  #queuedMessages = 0;
  #drain: Promise<void> | null = null;

  constructor(write: (messages: readonly PreparedMessage[]) => Promise<void>) {
    this.#write = write;
  }

  add(messages: readonly PreparedMessage[]): Promise<void> {
    if (this.#queuedMessages + messages.length > MAX_QUEUED_MESSAGES && this.#queuedMessages > 0)
      return Promise.reject(
        new TrainyardError('ServiceUnavailable', `${this.#queuedMessages} messages wait to be published already`),
      );
    const bytes = messages.reduce((sum, message) => sum + message.value.length, 0);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ messages, bytes, resolve, reject });
    this.#queuedMessages += messages.length;
    this.#drain ??= this.#writeAll();
    return promise;
  }

  /** Resolves when everything added so far is written or refused. */
  async settled(): Promise<void> {
    await this.#drain;
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      try {
        await this.#write(batch.flatMap((entry) => entry.messages));
        for (const entry of batch) entry.resolve();
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
    }
    // In the same turn as the last look at the queue: a caller that adds later starts the next drain.
    this.#drain = null;
  }

  #takeBatch(): Waiting[] {
    let messages = 0;
    let bytes = 0;
    let count = 0;
    for (const entry of this.#waiting) {
      messages += entry.messages.length;
      bytes += entry.bytes;
      if (count > 0 && (messages > MAX_BATCH_MESSAGES || bytes > MAX_BATCH_BYTES)) break;
      count++;
    }
    const batch = this.#waiting.splice(0, count);
    this.#queuedMessages -= batch.reduce((sum, entry) => sum + entry.messages.length, 0);
    return batch;
  }
}
