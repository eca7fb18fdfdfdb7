import { describe, expect, test } from 'vitest';
import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { DEFAULT_VALIDATION_LIMITS } from '#lib/datasets/documents/dataset-limits.ts';
import { datasetInspection, judgeDataset } from './validation.ts';

function inspect(format: DatasetFormat, lines: readonly string[]) {
  const inspection = datasetInspection(format);
  for (const line of lines) inspection.line(line);
  return inspection.end();
}
const judge = (format: DatasetFormat, lines: readonly string[], limits = {}) =>
  judgeDataset(inspect(format, lines), { ...DEFAULT_VALIDATION_LIMITS, ...limits });
const row = (text: string): string => JSON.stringify({ text });

describe('inspecting a dataset', () => {
  test('counts lines, documents, characters and the longest document', () => {
    expect(inspect('jsonl_text', [row('one'), '', row('three'), row(' ')])).toEqual({
      lines: 4,
      documents: 2,
      blankDocuments: 1,
      characters: 8,
      longestDocumentCharacters: 5,
      malformedLines: { total: 0, first: [] },
      allEqual: false,
    });
  });
  test('counts prompts and completions together', () => {
    expect(inspect('jsonl_prompt_completion', ['{"prompt":"ab","completion":"cde"}'])).toMatchObject({ characters: 5 });
  });
  test('lists the first 100 malformed lines by number and counts all', () => {
    const { malformedLines } = inspect('jsonl_text', [row('fine'), ...Array.from({ length: 250 }, () => '{')]);
    expect(malformedLines.total).toBe(250);
    expect(malformedLines.first).toHaveLength(100);
    expect(malformedLines.first[0]).toMatchObject({ line: 2, fault: 'NotJson' });
    expect(malformedLines.first.at(-1)).toMatchObject({ line: 101 });
  });
  test('sees that all documents are the same but for white space', () => {
    expect(inspect('jsonl_text', [row('a b'), row('a b \r\n'), row(' a b')])).toMatchObject({ allEqual: true });
    expect(inspect('jsonl_text', [row('a b'), row('a b'), row('b a')])).toMatchObject({ allEqual: false });
    expect(inspect('jsonl_text', [row('a b')])).toMatchObject({ allEqual: false });
  });
});

describe('a dataset is refused', () => {
  const long = 'x'.repeat(600);

  test('for a malformed line before anything else', () => {
    expect(judge('jsonl_text', ['{'])).toMatchObject({ ok: false, code: 'DatasetMalformedLine' });
  });
  test('when it has no document', () => {
    expect(judge('jsonl_text', [row(''), row(' '), ''])).toMatchObject({ ok: false, code: 'DatasetEmpty' });
    expect(judge('text', [' ', ''])).toMatchObject({ ok: false, code: 'DatasetEmpty' });
  });
  test('when every document is the same', () => {
    expect(judge('jsonl_text', [row(long), row(long)])).toMatchObject({ ok: false, code: 'DatasetDuplicateOnly' });
  });
  test('when it has too few documents or characters', () => {
    expect(judge('jsonl_text', [row(`${long}${long}`)])).toMatchObject({ ok: false, code: 'DatasetTooSmall' });
    expect(judge('jsonl_text', [row('a'), row('b')])).toMatchObject({ ok: false, code: 'DatasetTooSmall' });
  });
  test('when it has too many documents', () => {
    expect(judge('jsonl_text', [row('a'), row('b')], { maxDocuments: 1 })).toMatchObject({
      ok: false,
      code: 'DatasetTooLarge',
    });
  });
  test('and for nothing else', () => {
    expect(judge('jsonl_text', [row(`${long}a`), row(`${long}b`)])).toEqual({ ok: true });
  });
});
