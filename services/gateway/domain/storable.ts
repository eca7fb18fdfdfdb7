import type { FieldError } from '#lib/kernel/errors.ts';

/** Text that PostgreSQL keeps as it is: no NUL, no half of a surrogate pair. */
const isStorable = (text: string): boolean => !text.includes('\u0000') && text.isWellFormed();

/** Deeper than anything we have a schema for. Megabytes of brackets exhaust the stack, here and in PostgreSQL, at every try. */
const MAX_DEPTH = 100;

/** Everything of a parsed JSON value that cannot be stored, names of members included, by JSON pointer (RFC 6901). */
export function unstorable(value: unknown, pointer = '', depth = 0): FieldError[] {
  if (typeof value === 'string')
    return isStorable(value) ? [] : [{ pointer, message: 'must not contain NUL or half of a surrogate pair' }];
  if (typeof value !== 'object' || value === null) return [];
  if (depth === MAX_DEPTH) return [{ pointer, message: `must not be nested more than ${MAX_DEPTH} deep` }];
  return Object.entries(value).flatMap(([name, member]) => {
    // The pointer itself must be storable: an answer repeats it.
    const step = isStorable(name) ? name.replaceAll('~', '~0').replaceAll('/', '~1') : '?';
    const inside = unstorable(member, `${pointer}/${step}`, depth + 1);
    return step === '?'
      ? [{ pointer: `${pointer}/?`, message: 'its name must not contain NUL or half of a surrogate pair' }, ...inside]
      : inside;
  });
}
