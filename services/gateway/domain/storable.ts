import type { FieldError } from '#lib/kernel/errors.ts';

/** Text that PostgreSQL keeps as it is: no NUL, no half of a surrogate pair. */
const isStorable = (text: string): boolean => !text.includes('\u0000') && text.isWellFormed();

/** Every string of a parsed JSON value that cannot be stored, names of members included, by JSON pointer (RFC 6901). */
export function unstorable(value: unknown, pointer = ''): FieldError[] {
  if (typeof value === 'string')
    return isStorable(value) ? [] : [{ pointer, message: 'must not contain NUL or half of a surrogate pair' }];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => {
    // The pointer itself must be storable: an answer repeats it.
    const step = isStorable(name) ? name.replaceAll('~', '~0').replaceAll('/', '~1') : '?';
    const inside = unstorable(member, `${pointer}/${step}`);
    return step === '?'
      ? [{ pointer: `${pointer}/?`, message: 'its name must not contain NUL or half of a surrogate pair' }, ...inside]
      : inside;
  });
}
