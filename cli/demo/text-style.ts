/** A piece of text and what it means to the reader; the colour follows from the meaning. */
export type Tone = 'plain' | 'strong' | 'faint' | 'good' | 'bad' | 'active' | 'accent';
export interface Span {
  readonly text: string;
  readonly tone: Tone;
}
export type Line = readonly Span[];

export const span = (text: string, tone: Tone = 'plain'): Span => ({ text, tone });

/** The 16 colours of every terminal: they follow the user's theme, light or dark. */
const CODES: Readonly<Record<Tone, string | null>> = {
  plain: null,
  strong: '1',
  faint: '2',
  good: '32',
  bad: '31',
  active: '36',
  accent: '33',
};
const ESCAPE = '\u001B[';

/** Columns of a line. Everything we draw with (Latin, block elements, braille) is one column wide. */
export const widthOf = (line: Line): number => line.reduce((sum, { text }) => sum + columnsOf(text), 0);
export const columnsOf = (text: string): number => Array.from(text).length;

/** The line cut to `width` columns, with an ellipsis where something is missing. */
export function fitted(line: Line, width: number): Line {
  if (widthOf(line) <= width) return line;
  const kept: Span[] = [];
  let room = Math.max(0, width - 1);
  for (const { text, tone } of line) {
    const characters = Array.from(text);
    kept.push({ text: characters.slice(0, room).join(''), tone });
    room -= characters.length;
    if (room <= 0) break;
  }
  return width < 1 ? [] : [...kept, span('…', 'faint')];
}

/** The line as bytes for a terminal, or as plain text. */
export function painted(line: Line, colour: boolean): string {
  return line
    .map(({ text, tone }) => {
      const code = CODES[tone];
      return colour && code !== null && text !== '' ? `${ESCAPE}${code}m${text}${ESCAPE}0m` : text;
    })
    .join('');
}

/**
 * Text from elsewhere (a model's sample, a log line), fit to be printed: one line, no control characters that could move the cursor, no
 * replacement characters of a token that ends within a character.
 */
export function printable(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029\uFFFD]/gu, '')
    .trim();
}
