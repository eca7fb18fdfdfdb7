import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { MAX_PAIRS, type PreferenceFindings } from './preference-inspection.ts';
import type { Listed } from './row-findings.ts';

export type PreferenceVerdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** Row numbers of one kind in a message; the rest is in the fields of the error. */
const MAX_NUMBERED_ROWS = 10;

/** Whether pairs can be learnt from, and if not why: every kind of fault with its count and its first rows. */
export function judgePreferences(found: PreferenceFindings): PreferenceVerdict {
  const { faults, pairs, trainPairs, validationPairs } = found;
  if (faults.length > 0) {
    const wrong = faults.reduce((sum, { count }) => sum + count, 0);
    const kinds = faults.map((fault) => `${fault.kind} ${fault.count} (${rowNumbers(fault)})`);
    const message = `${wrong} of ${found.rows} rows cannot be used: ${kinds.join('; ')}`;
    return { ok: false, code: 'PreferenceDataInvalid', message };
  }
  if (pairs === 0) return { ok: false, code: 'DatasetEmpty', message: 'the dataset holds no pair' };
  if (pairs > MAX_PAIRS)
    return { ok: false, code: 'DatasetTooLarge', message: `${pairs} pairs, at most ${MAX_PAIRS} are allowed` };
  if (trainPairs === 0 || validationPairs === 0)
    return {
      ok: false,
      code: 'DatasetSplitEmpty',
      message: `of ${pairs} pairs ${trainPairs} are for training and ${validationPairs} for validation`,
    };
  return { ok: true };
}

function rowNumbers({ count, first }: Listed<string>): string {
  const numbers = first.slice(0, MAX_NUMBERED_ROWS).map(({ row }) => row);
  return `${count === 1 ? 'row' : 'rows'} ${numbers.join(', ')}${count > numbers.length ? ', ...' : ''}`;
}
