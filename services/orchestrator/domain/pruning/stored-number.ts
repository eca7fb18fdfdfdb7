/** A number as it lies in the event log: JSON has no word for these three. */
export type StoredNumber = number | 'NaN' | 'Infinity' | '-Infinity';

export function stored(value: number): StoredNumber {
  if (Number.isNaN(value)) return 'NaN';
  if (Number.isFinite(value)) return value;
  return value > 0 ? 'Infinity' : '-Infinity';
}

export const restored = (value: StoredNumber): number => Number(value);
