import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { rowText } from './row-text.ts';
import { documentReader, type SourceDocument } from './source-document.ts';
import { DOCUMENT_CHARACTERS } from './text-documents.ts';

function read(format: DatasetFormat, body: string): SourceDocument[] {
  const reader = documentReader(format);
  const lines = body.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const found = lines.flatMap((line) => {
    const outcome = reader.line(line);
    if (!outcome.ok) throw new Error(outcome.message);
    return outcome.documents;
  });
  return [...found, ...reader.end()];
}

const written = (format: DatasetFormat, documents: readonly SourceDocument[]): string =>
  documents.map((document) => rowText(format, document)).join('');

/** Long enough that documents are closed by their length too. */
const piece = fc.oneof(
  fc.constantFrom('\n', '\n\n', '\n\n\n', '\f', '\r', '\r\n', ' ', '. '),
  fc.string({ maxLength: 20 }).map((text) => text.replaceAll('\u0000', '')),
  fc.integer({ min: 1, max: 3 * DOCUMENT_CHARACTERS }).map((length) => 'word '.repeat(length / 5 + 1)),
);

describe('documents that are written and read again are the same', () => {
  test('plain text, however it was cut into documents', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const documents = read('text', pieces.join(''));
        expect(read('text', written('text', documents))).toEqual(documents);
      }),
      { numRuns: 500 },
    );
  });

  test('rows, whatever they hold', () => {
    const text = fc.string({ unit: 'binary' }).map((value) => value.toWellFormed());
    fc.assert(
      fc.property(fc.array(fc.record({ prompt: text, text: text.map((value) => `x${value}`) })), (documents) => {
        expect(read('jsonl_prompt_completion', written('jsonl_prompt_completion', documents))).toEqual(documents);
        const plain = documents.map((document) => ({ prompt: '', text: document.text }));
        expect(read('jsonl_text', written('jsonl_text', plain))).toEqual(plain);
      }),
    );
  });

  test('pairs of preference are no rows of text', () => {
    expect(() => rowText('jsonl_preferences', { prompt: '', text: 'a' })).toThrow('rlhf');
  });
});
