import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutText, normaliseText } from './normalisation.ts';

const anyUnits = fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units));
const messy = fc
  .array(
    fc.constantFrom('a', 'e\u0301', ' ', '\t', '\n', '\r', '\r\n', '\f', '\0', '\u0085', '\ufeff', '\u00a0', '\u2028'),
  )
  .map((parts) => parts.join(''));

describe('normalised text', () => {
  test('has LF line ends, whatever the system it came from', () => {
    expect(normaliseText('a\r\nb\rc\u0085d\u2028e\u2029f\vg\fh')).toBe('a\nb\nc\nd\ne\nf\ng\nh');
  });
  test('is composed (NFC)', () => {
    expect(normaliseText('e\u0301')).toBe('é');
  });
  test('has no control characters but tab and line feed, and no byte order mark', () => {
    expect(normaliseText('\ufeffa\0\u0007\u007f\u0090\tb\n')).toBe('a\tb\n');
  });
  test('has no white space at line ends and at most one blank line in a row', () => {
    expect(normaliseText('a  \n\t\n \n\n\nb')).toBe('a\n\nb');
  });
  test('keeps the space at its very end, which a prompt may want', () => {
    expect(normaliseText('Q: 1+1?\nA: ')).toBe('Q: 1+1?\nA: ');
  });
  test('has U+FFFD for half a surrogate pair', () => {
    expect(normaliseText('a\ud800b')).toBe('a\ufffdb');
  });
  test('does not change when normalised again', () => {
    fc.assert(
      fc.property(fc.oneof(anyUnits, messy), (text) => {
        const once = normaliseText(text);
        expect(normaliseText(once)).toBe(once);
      }),
      { numRuns: 500 },
    );
  });
  test('takes linear time on a run of spaces inside a line', () => {
    const text = `a${' '.repeat(2_000_000)}b\n`;
    expect(normaliseText(text)).toBe(text);
  });
});

describe('a cut text', () => {
  test('is at most as long as allowed, well-formed, a beginning of the text', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', ' ', '\n', 'é', '😀')),
        fc.integer({ min: -5, max: 20 }),
        (parts, max) => {
          const text = parts.join('');
          const cut = cutText(text, max);
          expect(cut.length).toBeLessThanOrEqual(Math.max(0, max));
          expect(cut.isWellFormed() && text.startsWith(cut)).toBe(true);
        },
      ),
    );
  });
  test('never ends in half a character or in white space', () => {
    expect(cutText('ab😀', 3)).toBe('ab');
    expect(cutText('ab  cd', 4)).toBe('ab');
  });
});
