import { createHash } from 'node:crypto';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import type { DeadLetter } from '#lib/contracts/generated/messages.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';

export type LetterState = 'open' | 'replayed' | 'discarded';

/** A dead letter with what became of it. */
export interface StoredLetter {
  readonly id: number;
  /** Header ce_id of the letter in its topic. */
  readonly letterId: string;
  readonly state: LetterState;
  readonly settledAt: Date | null;
  readonly settledBy: string | null;
  readonly settledReason: string | null;
  readonly letter: DeadLetter;
}

export interface LetterFilter {
  /** Settled ones too. */
  readonly all?: boolean;
  readonly topic?: string | undefined;
  readonly code?: string | undefined;
  /** Written at this time or later, epoch milliseconds. */
  readonly sinceMs?: number | undefined;
}

export interface Settlement {
  readonly state: Exclude<LetterState, 'open'>;
  readonly by: string;
  readonly reason: string | null;
}

interface Row {
  readonly id: number;
  readonly letter_id: string;
  readonly state: LetterState;
  readonly settled_at: Date | null;
  readonly settled_by: string | null;
  readonly settled_reason: string | null;
  readonly letter: Buffer;
}

const COLUMNS = 'id, letter_id, state, settled_at, settled_by, settled_reason, letter';

/** Settled letters are kept twice as long as the topic keeps letters: a second reading of it must not open them again. */
const KEEP_SETTLED_MS = 60 * 86_400_000;

/** Letters of one listing at most: more than a person reads, and the memory of a process (a letter may be a megabyte). */
export const MAX_LISTED = 1_000;

/** The table `dead_letters`: Avro single-object bytes whatever the bus, since ids of a schema registry mean nothing elsewhere. */
export class Letters {
  readonly #database: Database;
  readonly #codec = singleObjectCodec();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Idempotent: a letter that is there stays as it is. */
  async add(letterId: string, letter: DeadLetter): Promise<void> {
    const digest = createHash('sha256').update(letter.value).digest();
    await this.#database.query(
      `insert into dead_letters (letter_id, value_sha256, topic, code, at_ms, letter)
       select $1, $2, $3, $4, $5, $6 where not exists (select from dead_letters where letter_id = $1 and value_sha256 = $2)
       on conflict do nothing`,
      [letterId, digest, letter.topic, letter.code, letter.atMs, this.#codec.encode('DeadLetter', letter)],
    );
  }

  /** Oldest first, the first `MAX_LISTED`. */
  async list({ all = false, topic, code, sinceMs }: LetterFilter): Promise<StoredLetter[]> {
    const { rows } = await this.#database.query<Row>(
      `select ${COLUMNS} from dead_letters
       where ($1 or state = 'open') and ($2::text is null or topic = $2) and ($3::text is null or code = $3)
         and ($4::bigint is null or at_ms >= $4)
       order by id limit ${MAX_LISTED}`,
      [all, topic ?? null, code ?? null, sinceMs ?? null],
    );
    return rows.map((row) => this.#stored(row));
  }

  /** Throws `NotFound`. */
  async get(id: number, database: Queryable = this.#database, lock = ''): Promise<StoredLetter> {
    const { rows } = await database.query<Row>(`select ${COLUMNS} from dead_letters where id = $1 ${lock}`, [id]);
    const [row] = rows;
    if (row === undefined) throw new TrainyardError('NotFound', `there is no dead letter ${id}`);
    return this.#stored(row);
  }

  /**
   * Settles an open letter after `work` has succeeded; one command at a time, and a letter whose work failed stays open. Takes the sender's
   * credential out of it. Throws `NotFound`, `StateConflict` for a letter that was settled before, and what `work` throws.
   */
  async settle(
    id: number,
    { state, by, reason }: Settlement,
    work: (letter: StoredLetter) => Promise<void>,
  ): Promise<void> {
    await this.#database.transaction(async (tx) => {
      const stored = await this.get(id, tx, 'for update');
      if (stored.state !== 'open')
        throw new TrainyardError('StateConflict', `dead letter ${id} is settled: ${settlementOf(stored)}`);
      await work(stored);
      const headers = withoutCredential(stored.letter.headers);
      await tx.query(
        `update dead_letters set state = $2, settled_at = now(), settled_by = $3, settled_reason = $4, letter = $5 where id = $1`,
        [id, state, by, reason, this.#codec.encode('DeadLetter', { ...stored.letter, headers })],
      );
    });
  }

  async forgetOld(nowMs: number): Promise<void> {
    await this.#database.query(`delete from dead_letters where state <> 'open' and at_ms < $1`, [
      nowMs - KEEP_SETTLED_MS,
    ]);
  }

  #stored(row: Row): StoredLetter {
    return {
      id: row.id,
      letterId: row.letter_id,
      state: row.state,
      settledAt: row.settled_at,
      settledBy: row.settled_by,
      settledReason: row.settled_reason,
      letter: this.#codec.decode(row.letter).payload as DeadLetter,
    };
  }
}

/** `replayed at 2026-11-26T06:00:00.000Z by anna`. */
export function settlementOf({ state, settledAt, settledBy, settledReason }: StoredLetter): string {
  const why = settledReason === null ? '' : `: ${settledReason}`;
  return `${state} at ${settledAt?.toISOString()} by ${settledBy}${why}`;
}

/** Header names are compared without regard to case: who misspelled one meant a credential all the same. */
export const isCredential = (name: string): boolean => name.toLowerCase() === 'authorization';

const withoutCredential = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !isCredential(name)));
