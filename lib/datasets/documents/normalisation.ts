/** Control characters that mean a line end in some system: CR, VT, FF, NEL, line and paragraph separator. */
const LINE_ENDS = /\r\n|[\r\v\f\u0085\u2028\u2029]/g;
/** Other controls (tab and line feed excepted) and the byte order mark: invisible, and each would cost a token. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROLS = /[\u0000-\u0008\u000e-\u001f\u007f-\u009f\ufeff]/g;

/**
 * Text with LF line ends, no control characters but tab and LF, in Unicode NFC, without white space at the end of lines and with at
 * most one blank line in a row. The end of the last line is kept, because a prompt may end in a wanted space. Idempotent; lone
 * surrogates become U+FFFD.
 */
export function normaliseText(text: string): string {
  const clean = text.replace(LINE_ENDS, '\n').replace(CONTROLS, '').toWellFormed().normalize('NFC');
  if (!clean.includes('\n')) return clean;
  const lines = clean.split('\n');
  // `trimEnd` per line: a pattern like /\s+$/gm takes quadratic time on a long run of spaces.
  const trimmed = lines.map((line, i) => (i + 1 < lines.length ? line.trimEnd() : line));
  return trimmed.join('\n').replace(/\n{3,}/g, '\n\n');
}

/** At most `maxCharacters` UTF-16 units from the start, never half a surrogate pair, without white space at the cut. */
export function cutText(text: string, maxCharacters: number): string {
  if (text.length <= maxCharacters) return text;
  const cut = text.slice(0, Math.max(0, maxCharacters));
  return (cut.isWellFormed() ? cut : cut.slice(0, -1)).trimEnd();
}
