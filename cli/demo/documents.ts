/** Documents of JSON Lines, cut in two: the first `share` of them, and the rest. Whole documents, in their order. */
export function cutDocuments(body: Buffer, share: number): readonly [Buffer, Buffer] {
  const lines = body
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '');
  const cut = Math.round(lines.length * share);
  const joined = (part: readonly string[]): Buffer => Buffer.from(part.map((line) => `${line}\n`).join(''));
  return [joined(lines.slice(0, cut)), joined(lines.slice(cut))];
}

/** The texts of JSON Lines with a member `text`. */
export const textsOf = (body: Buffer): string[] =>
  body
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { text: string }).text);
