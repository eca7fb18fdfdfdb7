import { columnsOf, type Line, type Span, span } from './text-style.ts';

export type Align = 'left' | 'right';

/** Rows under each other in columns two spaces apart; the last column is not padded. Cells may be text or a span. */
export function table(rows: readonly (readonly (string | Span)[])[], align: readonly Align[] = []): Line[] {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? span(cell) : cell)));
  const columns = Math.max(0, ...cells.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(0, ...cells.map((row) => lengthOf(row[column]))),
  );
  return cells.map((row) =>
    row.flatMap((cell, column) => {
      const padding = span(' '.repeat((widths[column] ?? 0) - lengthOf(cell)));
      const gap = column === 0 ? [] : [span('  ')];
      if (align[column] === 'right') return [...gap, padding, cell];
      return column === row.length - 1 ? [...gap, cell] : [...gap, cell, padding];
    }),
  );
}

const lengthOf = (cell: Span | undefined): number => columnsOf(cell?.text ?? '');

/** Words in lines of at most `width` columns, each after `indent`. A longer word stands alone. */
export function wrapped(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let current = '';
  for (const word of text.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`;
    if (current !== '' && columnsOf(longer) > width - indent.length) {
      lines.push(indent + current);
      current = word;
    } else current = longer;
  }
  return current === '' ? lines : [...lines, indent + current];
}
