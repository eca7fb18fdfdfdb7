import { hash } from 'node:crypto';
import type { PreparedDocument } from '#lib/datasets/documents/prepared-document.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';

/** Rows that one assembly remembers, all sets together: about 80 bytes each, 320 MB. */
const MOST_REMEMBERED = 4_000_000;

/** SHA-256 as 32 characters of one byte each: half the memory of hexadecimal digits, and in the order of the bytes. */
export type RowHash = string;

/**
 * SHA-256 of the canonical text of a row: prompt and text after the normalisation of training data, one after the other. So a row is recognised
 * whichever format it stands in, and whether its text was divided into prompt and completion or not.
 */
export const rowHash = ({ prompt, text }: PreparedDocument): RowHash => hash('sha256', prompt + text, 'binary');

/** Sets of row hashes that share one bound on memory; more is `DatasetTooLarge`. */
export class RowMemory {
  #left: number;

  constructor(most = MOST_REMEMBERED) {
    this.#left = most;
  }

  set(): { has(row: RowHash): boolean; add(row: RowHash): boolean; readonly rows: ReadonlySet<RowHash> } {
    const rows = new Set<RowHash>();
    return {
      rows,
      has: (row) => rows.has(row),
      /** False when it was there. */
      add: (row) => {
        if (rows.has(row)) return false;
        if (this.#left-- === 0)
          throw new TrainyardError('DatasetTooLarge', 'the datasets have too many rows to compare');
        rows.add(row);
        return true;
      },
    };
  }
}

export type RowSet = ReturnType<RowMemory['set']>;

const HEX = /^[0-9a-f]{64}$/;

/** A line of a row manifest; null for a line that is none. */
export const rowOfLine = (line: string): RowHash | null =>
  HEX.test(line) ? Buffer.from(line, 'hex').toString('latin1') : null;

/** Parts in which a manifest is sorted, one per first byte: of four million rows each takes some 10 ms. */
const PARTS = 256;

/** The lines of a row manifest, sorted, each row of the sets once; in 256 parts, between which the caller lets other work go on. */
export function* manifestParts(...sets: readonly RowSet[]): Generator<string> {
  const parts = Array.from({ length: PARTS }, (): Set<RowHash> => new Set());
  for (const { rows } of sets) for (const row of rows) parts[row.charCodeAt(0)]?.add(row);
  for (const part of parts)
    yield [...part]
      .sort()
      .map((row) => `${Buffer.from(row, 'latin1').toString('hex')}\n`)
      .join('');
}
