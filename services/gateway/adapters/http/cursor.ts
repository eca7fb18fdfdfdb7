import { TrainyardError } from '#lib/kernel/errors.ts';

/** Opaque to clients: where a page ended. */
export const encodeCursor = (position: unknown): string =>
  Buffer.from(JSON.stringify(position), 'utf8').toString('base64url');

/** `accept` returns the position, or null for anything that is none. Throws `ValidationFailed` for a cursor we did not make. */
export function decodeCursor<T>(cursor: string | undefined, accept: (value: unknown) => T | null): T | null {
  if (cursor === undefined) return null;
  let position: T | null = null;
  try {
    position = accept(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
  } catch {
    position = null;
  }
  if (position === null)
    throw new TrainyardError('ValidationFailed', 'the cursor is none of ours', {
      fields: [{ pointer: '/query/cursor', message: 'is not a cursor from an earlier page' }],
    });
  return position;
}

export const textPosition = (value: unknown): string | null => (typeof value === 'string' ? value : null);
export const integerPosition = (value: unknown): number | null =>
  Number.isInteger(value) && Math.abs(value as number) < 2 ** 31 ? (value as number) : null;

export const jobPosition = (value: unknown): readonly [string, string] | null => {
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [at, id] = value as unknown[];
  if (typeof at !== 'string' || typeof id !== 'string') return null;
  // As PostgreSQL prints it; `Date.parse` reads that once there is a T and the offset has minutes.
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d)?$/.test(at)) return null;
  return Number.isNaN(Date.parse(at.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'))) ? null : [at, id];
};

export const approvalPosition = (value: unknown): readonly [number, string] | null => {
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [atMs, id] = value as unknown[];
  return Number.isSafeInteger(atMs) && typeof id === 'string' ? [atMs as number, id] : null;
};
