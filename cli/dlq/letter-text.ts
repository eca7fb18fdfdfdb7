import { isCredential, settlementOf, type StoredLetter } from './letters.ts';

const BYTES_PER_LINE = 16;

/** What the bytes of a letter say to this release. */
export type Reading =
  | { readonly ok: true; readonly type: string; readonly payload: unknown }
  | { readonly ok: false; readonly code: string; readonly reason: string };

/** One line for a list: id, time, source, consumer, code, reason; the state too when it is no longer open. */
export function letterLine(stored: StoredLetter): string {
  const { id, state, letter } = stored;
  const parts = [
    String(id).padStart(5),
    new Date(letter.atMs).toISOString(),
    positionOf(stored),
    letter.consumer,
    letter.code,
    ...(state === 'open' ? [] : [`[${state}]`]),
    letter.reason.split('\n')[0] ?? '',
  ];
  return parts.map(printable).join('  ');
}

export const positionOf = ({ letter }: StoredLetter): string => `${letter.topic}/${letter.partition}/${letter.offset}`;

/** Everything about a letter, for a person; the bytes as hex and text, at most `maxBytes` of them. */
export function letterText(stored: StoredLetter, reading: Reading, maxBytes: number): string {
  const { id, state, letter } = stored;
  const rows: [string, string][] = [
    ['state', state === 'open' ? state : settlementOf(stored)],
    ['written', `${new Date(letter.atMs).toISOString()} by ${letter.consumer}`],
    ['from', `${letter.topic}, partition ${letter.partition}, offset ${letter.offset}`],
    ['key', letter.key ?? '(none)'],
    ['code', letter.code],
    ['reason', letter.reason],
    ...Object.entries(withoutSecrets(letter.headers)).map(([name, value]): [string, string] => [
      `header ${name}`,
      value,
    ]),
    ['value', `${letter.value.length} bytes`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const shown = letter.value.subarray(0, maxBytes);
  const rest = letter.value.length - shown.length;
  return [
    `dead letter ${id}`,
    ...rows.map(([name, value]) => `  ${printable(name).padEnd(width)}  ${printable(value)}`),
    ...hexLines(shown).map((line) => `    ${line}`),
    ...(rest === 0 ? [] : [`    ... ${rest} more bytes (--full shows them)`]),
    reading.ok
      ? `  read now as ${reading.type}:\n${indented(JSON.stringify(reading.payload, readable, 2))}`
      : `  cannot be read now: ${reading.code}: ${printable(reading.reason)}`,
    '',
  ].join('\n');
}

/** The same as one JSON value. */
export function letterJson(stored: StoredLetter, reading?: Reading): Record<string, unknown> {
  const { id, letterId, state, settledAt, settledBy, settledReason, letter } = stored;
  const { value, headers, atMs, ...rest } = letter;
  const summary = {
    id,
    letterId,
    state,
    settledAt,
    settledBy,
    settledReason,
    at: new Date(atMs).toISOString(),
    ...rest,
  };
  if (reading === undefined) return summary;
  return {
    ...summary,
    headers: withoutSecrets(headers),
    valueHex: value.toString('hex'),
    valueText: value.toString('utf8'),
    reading: JSON.parse(JSON.stringify(reading, readable)) as unknown,
  };
}

/** A credential is for its gateway, not for a terminal, its scrollback or a ticket. */
const withoutSecrets = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, isCredential(name) ? '[redacted]' : value]));

/** Bytes inside a payload as text of base64, not as a list of numbers. */
const readable = (_: string, value: unknown): unknown => {
  const bytes = value as { type?: unknown; data?: unknown } | null;
  return bytes?.type === 'Buffer' && Array.isArray(bytes.data)
    ? Buffer.from(bytes.data as number[]).toString('base64')
    : value;
};

function hexLines(bytes: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += BYTES_PER_LINE) {
    const part = bytes.subarray(at, at + BYTES_PER_LINE);
    const hex = (part.toString('hex').match(/../g) ?? []).join(' ');
    const text = part.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.');
    lines.push(`${at.toString(16).padStart(8, '0')}  ${hex.padEnd(BYTES_PER_LINE * 3 - 1)}  |${text}|`);
  }
  return lines;
}

/** Letters hold what others sent: control characters would reach the terminal. */
const printable = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);

const indented = (text: string): string => text.replaceAll(/^/gm, '    ');
