import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DOCUMENT_CHARACTERS, textDocuments } from './text-documents.ts';

function documentsOf(text: string): string[] {
  const documents = textDocuments();
  return [...text.split('\n').flatMap((line) => documents.line(line)), ...documents.end()];
}
const line = (characters: number): string => 'x'.repeat(characters - 1);

describe('plain text', () => {
  test('is cut at form feeds', () => {
    expect(documentsOf('one\fttwo\nmore\f\n\fthree')).toEqual(['one', 'ttwo\nmore', 'three']);
  });
  test('is cut at two blank lines in a row but not at one', () => {
    expect(documentsOf('one\n\nstill one\n\n\ntwo\n \n\t\nthree').map((text) => text.trim())).toEqual([
      'one\n\nstill one',
      'two',
      'three',
    ]);
  });
  test('is cut at the next blank line once a document is long', () => {
    const long = line(DOCUMENT_CHARACTERS);
    expect(documentsOf(`${long}\nend of paragraph\n\nnext`)).toEqual([`${long}\nend of paragraph`, 'next']);
  });
  test('is cut at a line end once a document is twice as long', () => {
    const long = line(DOCUMENT_CHARACTERS);
    expect(documentsOf(`${long}\n${long}\nnext`)).toEqual([`${long}\n${long}`, 'next']);
  });
  test('is cut after a sentence where a single line is longer than that', () => {
    const sentence = `${'word '.repeat(150)}end. `;
    const pieces = documentsOf(sentence.repeat(12));
    expect(pieces.length).toBeGreaterThan(2);
    expect(pieces.every((piece) => piece.endsWith('end.') && piece.length <= 2 * DOCUMENT_CHARACTERS)).toBe(true);
  });
  test('is cut at a space, or anywhere between characters, where there is no sentence', () => {
    expect(documentsOf('word '.repeat(2_000)).every((piece) => piece.endsWith('word'))).toBe(true);
    const emoji = documentsOf(`a${'😀'.repeat(5_000)}`);
    expect(emoji.every((piece) => piece.isWellFormed())).toBe(true);
    expect(emoji.join('')).toBe(`a${'😀'.repeat(5_000)}`);
  });
  test('may have old line ends', () => {
    expect(documentsOf('one\rstill one\r\r\rtwo\r\nend')).toEqual(['one\nstill one\n', 'two\nend']);
  });
  test('of white space only holds no document', () => {
    expect(documentsOf(' \n\n\f\t\n\r\n')).toEqual([]);
  });
  test('loses nothing but white space, and no document is much longer than a page', () => {
    const texts = fc
      .array(fc.constantFrom('word', '. ', ' ', '\n', '\n\n\n', '\f', line(900), line(5_000), '😀'))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(texts, (text) => {
        const documents = documentsOf(text);
        expect(documents.join('').replace(/\s/g, '')).toBe(text.replace(/\s/g, ''));
        for (const document of documents) expect(document.length).toBeLessThan(6 * DOCUMENT_CHARACTERS + 2);
      }),
    );
  });
});
