import { int8Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import type { Listener } from '#lib/postgres/listening-connection.ts';
import { encodeMessages, type PreparedMessage } from '../message-arrays.ts';
import type { SqlCall } from '../port.ts';
import { messagesOf, type OutboxRow } from './outbox-row.ts';
import { sweep } from './sweep.ts';

/** A row whose producer has not published it by now is published by whoever looks: its producer is dead, frozen, or cut off from the bus. */
const GRACE_MS = 2_000;
const SWEEP_EVERY_MS = 1_000;
/** Rows of published messages are deleted this often when no commit does it by the way. */
const DELETE_EVERY_MS = 200;
const RETRY_MS = 250;
/** A transaction that did not commit by now was rolled back. */
const FORGET_AFTER_MS = 60_000;

const CHANNEL = 'outbox';

interface Entry {
  readonly seq: number;
  readonly messages: readonly PreparedMessage[];
  readonly atMs: number;
}

export interface OutboxOptions {
  readonly database: Database;
  /** Unique among processes and their restarts. */
  readonly producer: string;
  /** Durable when it resolves; in the order of the messages. */
  readonly publish: (messages: readonly PreparedMessage[]) => Promise<void>;
  readonly onTrouble: (error: unknown) => void;
}

/**
 * Transactional outbox in front of a bus that is not in the database. Messages are a row of the caller's transaction; once that is
 * committed, this process publishes them from memory, in the order of the commits, and deletes the row. What a dead process left is
 * published by the others. At least once: message ids make a repetition the same message.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #open = new Map<number, Entry>();
  /** Committed, in the order of the commits, not yet published. */
  readonly #committed: Entry[] = [];
  /** Published; their rows are still there. */
  #done: number[] = [];
  #seq = 0;
  #running: Promise<void> | null = null;
  #sweeping: Promise<unknown> = Promise.resolve();
  readonly #listener: Listener;
  readonly #timers: NodeJS.Timeout[];
  #closed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#listener = options.database.listen([CHANNEL], (_, payload) => this.#announced(payload));
    this.#timers = [
      setInterval(() => void this.#deleteDone(), DELETE_EVERY_MS).unref(),
      setInterval(() => this.#startSweep(), SWEEP_EVERY_MS).unref(),
    ];
  }

  /** Part of the caller's transaction; published when its commit is announced. */
  async appendIn(tx: Queryable, messages: readonly PreparedMessage[]): Promise<void> {
    if (messages.length === 0) return;
    await tx.query(APPEND, this.#row(this.#newEntry(messages), true));
  }

  /**
   * What other processes committed for the same topics and keys and have not published, as far as is known, in order: published again in
   * front of new messages, it cannot be overtaken by them, even when its process is dead.
   */
  async waitingElsewhere(tx: Queryable, messages: readonly PreparedMessage[]): Promise<PreparedMessage[]> {
    const { rows } = await tx.query<OutboxRow>(WAITING, [
      this.#options.producer,
      textArray(messages.map(({ key }) => key)),
    ]);
    const same = new Set(messages.map(({ topic, key }) => `${topic}/${key}`));
    return rows.flatMap(messagesOf).filter(({ topic, key }) => same.has(`${topic}/${key}`));
  }

  /** Calls for a statement of the caller's: the new row, and the end of rows that were published. */
  partsOf(messages: readonly PreparedMessage[]): {
    readonly calls: readonly SqlCall[];
    settle(committed: boolean): void;
  } {
    const { producer } = this.#options;
    const entry = messages.length === 0 ? null : this.#newEntry(messages);
    const done = this.#done;
    this.#done = [];
    return {
      calls: [
        ...(done.length === 0 ? [] : [{ call: 'outbox_done', parameters: [producer, int8Array(done)] }]),
        ...(entry === null ? [] : [{ call: 'outbox_append', parameters: this.#row(entry, false) }]),
      ],
      settle: (committed) => {
        if (!committed) this.#done.push(...done);
        if (entry === null) return;
        if (committed) this.#isCommitted(entry.seq);
        else this.#open.delete(entry.seq);
      },
    };
  }

  /** Rows that wait to be published, by anybody; for metrics and readiness. */
  async depth(): Promise<number> {
    const { rows } = await this.#options.database.query<{ n: number }>('select count(*) as n from outbox');
    return rows[0]?.n ?? 0;
  }

  /** Publishes what is committed, for as long as `boundMs`; the rest is left to the others. */
  async close(boundMs = 2_000): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    const bound = new Promise<void>((resolve) => setTimeout(resolve, boundMs).unref());
    await Promise.race([this.#running, bound]);
    this.#closed = true;
    await this.#listener.close();
    await this.#sweeping;
    await this.#deleteDone();
  }

  #newEntry(messages: readonly PreparedMessage[]): Entry {
    const entry = { seq: ++this.#seq, messages, atMs: performance.now() };
    this.#open.set(entry.seq, entry);
    return entry;
  }

  /** The parameters of `outbox_append`. */
  #row({ seq, messages }: Entry, announce: boolean): unknown[] {
    return [this.#options.producer, seq, announce, ...encodeMessages(messages)];
  }

  #announced(payload: string): void {
    // An empty one: the connection was lost and is back; what was announced meanwhile is swept.
    const cut = payload.lastIndexOf(':');
    if (cut > 0 && payload.slice(0, cut) === this.#options.producer) this.#isCommitted(Number(payload.slice(cut + 1)));
  }

  #isCommitted(seq: number): void {
    const entry = this.#open.get(seq);
    if (entry === undefined) return;
    this.#open.delete(seq);
    this.#committed.push(entry);
    if (!this.#closed) this.#running ??= this.#publishAll();
  }

  async #publishAll(): Promise<void> {
    while (this.#committed.length > 0 && !this.#closed) {
      const batch = [...this.#committed];
      try {
        await this.#options.publish(batch.flatMap((entry) => entry.messages));
        this.#committed.splice(0, batch.length);
        this.#done.push(...batch.map((entry) => entry.seq));
      } catch (error) {
        this.#options.onTrouble(error);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    this.#running = null;
  }

  async #deleteDone(): Promise<void> {
    if (this.#done.length === 0) return;
    const done = this.#done;
    this.#done = [];
    try {
      await this.#options.database.query(DONE, [this.#options.producer, int8Array(done)]);
    } catch (error) {
      this.#done.push(...done);
      this.#options.onTrouble(error);
    }
  }

  #startSweep(): void {
    const nowMs = performance.now();
    for (const [seq, entry] of this.#open) if (nowMs - entry.atMs > FORGET_AFTER_MS) this.#open.delete(seq);
    const { database, producer, publish, onTrouble } = this.#options;
    // Ours that wait for the bus are not taken: they would be published twice, and out of order.
    const ours = { producer, seqs: [...this.#committed.map((entry) => entry.seq), ...this.#done] };
    this.#sweeping = this.#sweeping.then(() =>
      this.#closed ? undefined : sweep({ database, publish, graceMs: GRACE_MS, except: ours }).catch(onTrouble),
    );
  }
}

const APPEND = { name: 'outbox_append', text: 'select outbox_append($1, $2, $3, $4, $5, $6, $7, $8)' };
const WAITING = {
  name: 'outbox_waiting',
  text: `select id, topics, partitions, keys, headers, bodies from outbox where producer <> $1 and keys && $2::text[] order by id`,
};
const DONE = { name: 'outbox_done', text: 'select outbox_done($1, $2)' };
