import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { manifestParts, rowHash, RowMemory, rowOfLine } from './row-hashes.ts';

const document = (prompt: string, text: string) => ({ prompt, text, cut: false });

test('a row is known by its whole text, wherever its prompt ends', () => {
  expect(rowHash(document('ab', 'c'))).toBe(rowHash(document('', 'abc')));
  expect(rowHash(document('', 'abc'))).not.toBe(rowHash(document('', 'abd')));
  const hex = createHash('sha256').update('é').digest('hex');
  expect(Buffer.from(rowHash(document('', 'é')), 'latin1').toString('hex')).toBe(hex);
});

test('a manifest lists the rows of all sets once and sorted, and is read back', () => {
  const memory = new RowMemory();
  const [a, b] = [memory.set(), memory.set()];
  const rows = Array.from({ length: 50 }, (_, at) => rowHash(document('', `row ${at}`)));
  for (const row of rows) a.add(row);
  for (const row of rows.slice(25)) b.add(row);
  const lines = [...manifestParts(a, b)].join('').trimEnd().split('\n');
  expect(lines).toHaveLength(50);
  expect(lines).toEqual(lines.toSorted());
  expect(new Set(lines.map((line) => rowOfLine(line)))).toEqual(new Set(rows));
  for (const line of ['', 'xyz', 'A'.repeat(64), ` ${'a'.repeat(63)}`]) expect(rowOfLine(line)).toBeNull();
});

test('all sets share one bound, and a row that is there already costs nothing', () => {
  const memory = new RowMemory(3);
  const [a, b] = [memory.set(), memory.set()];
  expect(a.add('1')).toBe(true);
  expect(a.add('1')).toBe(false);
  expect(b.add('1')).toBe(true);
  expect(b.add('2')).toBe(true);
  expect(a.has('2')).toBe(false);
  expect(() => a.add('2')).toThrow(expect.objectContaining({ code: 'DatasetTooLarge' }));
  expect(b.add('2')).toBe(false);
});
