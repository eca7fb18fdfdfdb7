import { TrainyardError } from '#lib/kernel/errors.ts';

/** S3's limit. */
const MAX_KEY_BYTES = 1_024;
/** File systems (and the S3 servers that store on them) take no longer name. */
const MAX_SEGMENT_BYTES = 255;

const SEGMENT = /^[A-Za-z0-9._=-]+$/;

/**
 * Throws `ValidationFailed` for a key outside the rules of the port; runs before any path is made of it. `prefixBytes`: what the store
 * itself puts before the key, out of the same 1,024 bytes.
 */
export function checkKey(key: string, prefixBytes = 0): void {
  const problem = keyProblem(key, MAX_KEY_BYTES - prefixBytes);
  if (problem !== null) throw refusal('key', key, problem);
}

/** True for a text that `checkKey` takes. */
export const isKey = (text: string): boolean => keyProblem(text, MAX_KEY_BYTES) === null;

const keyProblem = (key: string, maxBytes: number): string | null =>
  key.length > maxBytes ? `is longer than ${maxBytes} bytes` : segmentProblem(key.split('/'));

/** A prefix is the beginning of a key: empty, or ending anywhere inside one. */
export function checkPrefix(prefix: string): void {
  if (prefix === '') return;
  const segments = prefix.split('/');
  const last = segments.pop() ?? '';
  const problem =
    prefix.length > MAX_KEY_BYTES
      ? `is longer than ${MAX_KEY_BYTES} bytes`
      : (segmentProblem(segments) ??
        (last === '' || last === '.' || last === '..' || SEGMENT.test(last) ? null : 'has a character that keys lack'));
  if (problem !== null) throw refusal('prefix', prefix, problem);
}

function segmentProblem(segments: readonly string[]): string | null {
  for (const segment of segments) {
    if (segment === '') return 'has an empty segment (or a slash at an end)';
    if (segment === '.' || segment === '..') return 'has a relative segment';
    if (!SEGMENT.test(segment)) return 'has a character outside A-Z a-z 0-9 . _ = -';
    if (segment.length > MAX_SEGMENT_BYTES) return `has a segment longer than ${MAX_SEGMENT_BYTES} bytes`;
  }
  return null;
}

const refusal = (field: string, value: string, problem: string): TrainyardError =>
  new TrainyardError('ValidationFailed', `object ${field} ${JSON.stringify(value.slice(0, 200))} ${problem}`, {
    fields: [{ pointer: `/${field}`, message: problem }],
  });

/**
 * A relative file path (`/`-separated) as key segments: bytes that keys lack become `=XX` (as in quoted-printable), and so does
 * `=` itself, so that different paths never meet in one key.
 */
export const keyOfPath = (path: string): string =>
  path
    .split('/')
    .map((name) => name.replaceAll(/[^A-Za-z0-9._-]/gu, escapeCharacter))
    .join('/');

const escapeCharacter = (character: string): string =>
  [...Buffer.from(character, 'utf8')].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
