import { describe, expect, it } from 'vitest';
import { table, wrapped } from './table.ts';
import { fitted, painted, printable, span, widthOf } from './text-style.ts';

const plain = (lines: readonly Parameters<typeof painted>[0][]): string[] => lines.map((line) => painted(line, false));

describe('lines of text', () => {
  it('are cut to the width of the screen with an ellipsis', () => {
    const line = [span('training '), span('step 1,612', 'strong')];
    expect(painted(fitted(line, 30), false)).toBe('training step 1,612');
    expect(painted(fitted(line, 12), false)).toBe('training st…');
    for (let width = 0; width < 25; width++) expect(widthOf(fitted(line, width))).toBeLessThanOrEqual(width);
  });

  it('carry escape sequences only where colours are wanted', () => {
    const line = [span('done', 'good'), span(' in 2 s')];
    expect(painted(line, false)).toBe('done in 2 s');
    expect(painted(line, true)).toBe('\u001B[32mdone\u001B[0m in 2 s');
  });

  it('of a stranger cannot move the cursor', () => {
    expect(printable('a\u001B[2Jb\r\n\tc\u0007 \uFFFDd')).toBe('a[2Jb c d');
  });
});

describe('a table', () => {
  it('aligns columns, also around coloured cells', () => {
    const rows = [
      ['', 'old', 'new'],
      ['bigram', span('1.784', 'good'), '2.4'],
    ];
    expect(plain(table(rows, ['left', 'right', 'right']))).toEqual(['          old  new', 'bigram  1.784  2.4']);
  });

  it('does not pad the last column', () => {
    expect(
      plain(
        table([
          ['a', 'b'],
          ['long', 'longer'],
        ]),
      ),
    ).toEqual(['a     b', 'long  longer']);
  });

  it('wraps words, and leaves a long one whole', () => {
    expect(wrapped('one two three incomprehensibilities four', 11, '  ')).toEqual([
      '  one two',
      '  three',
      '  incomprehensibilities',
      '  four',
    ]);
    expect(wrapped('', 10)).toEqual([]);
  });
});
