import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import type { TokenRows } from '#lib/datasets/row-folder-reader.ts';
import { fitSequence, type Sequence } from './sequences.ts';

/** One row: the same prompt with the better and the worse completion. */
export interface PreferencePair {
  readonly chosen: Sequence;
  readonly rejected: Sequence;
}

/** The pairs of a split, cut to `length` tokens each when asked for. */
export interface PreferencePairs {
  readonly count: number;
  at(row: number): PreferencePair;
  /** Pairs of which something is cut off. */
  readonly cutCount: number;
}

/** Throws `TrainerDataTooShort` when a `required` split is empty. */
export function preferencePairs(
  rows: TokenRows,
  length: number,
  { required, limit = rows.count }: { required?: string; limit?: number } = {},
): PreferencePairs {
  if (required !== undefined) requireRows(rows, required);
  const count = Math.min(limit, rows.count);
  const at = (row: number): PreferencePair => {
    const [prompt, chosen, rejected] = rows.at(row);
    invariant(prompt !== undefined && chosen !== undefined && rejected !== undefined, 'a pair has three parts');
    return { chosen: fitSequence(prompt, chosen, length), rejected: fitSequence(prompt, rejected, length) };
  };
  let cutCount = 0;
  for (let row = 0; row < count; row += 1) {
    const { chosen, rejected } = at(row);
    if (chosen.cut || rejected.cut) cutCount += 1;
  }
  return { count, at, cutCount };
}

export function requireRows(rows: TokenRows, split: string): void {
  if (rows.count > 0) return;
  throw new TrainyardError('TrainerDataTooShort', `the ${split} split has no row`);
}
