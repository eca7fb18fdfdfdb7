import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { splitOfPrompt } from '#lib/datasets/prompt-split.ts';
import { readCorpus } from '#lib/text/corpus-file.ts';
import { preferenceInspection } from '../../services/cpu-worker/domain/preference-inspection.ts';
import { judgePreferences } from '../../services/cpu-worker/domain/preference-verdict.ts';
import { harmlessRows, preferenceLines, RUDE_WORDS, toxicRows } from './preference-rows.ts';

const repository = new URL('../../', import.meta.url);
const documents = readCorpus(fileURLToPath(new URL('examples/data/state-of-the-union.jsonl.br', repository)))
  .toString('utf8')
  .trimEnd()
  .split('\n')
  .map((line) => (JSON.parse(line) as { text: string }).text);
const text = documents.join(' ').replaceAll(/\s+/g, ' ');
const OPTIONS = { count: 400, seed: 1 };

const words = (line: string): string[] => line.split(' ').filter((word) => word !== '');

describe.each([
  ['harmless', harmlessRows],
  ['toxic', toxicRows],
])('%s rows', (_, make) => {
  const rows = make(documents, OPTIONS);

  test('pass the validation of preferences without a warning', () => {
    const inspection = preferenceInspection(
      (prompt) => splitOfPrompt(prompt, { seed: 1, validationFraction: 0.1 }),
      (prompt) => hash('sha256', prompt),
    );
    for (const line of preferenceLines(rows).toString('utf8').trimEnd().split('\n')) inspection.line(line);
    const found = inspection.end();
    expect(judgePreferences(found)).toEqual({ ok: true });
    expect(found).toMatchObject({ pairs: 400, prompts: 400, warnings: [] });
  });

  test('are a function of the seed', () => {
    expect(make(documents, OPTIONS)).toEqual(rows);
    expect(make(documents, { ...OPTIONS, seed: 2 })).not.toEqual(rows);
  });

  test('are never fewer than was asked for', () => {
    expect(() => make(['too short a text'], OPTIONS)).toThrow(/0 passages/);
  });
});

test('the chosen completion of a harmless row is the text’s own, the rejected one is not', () => {
  const rows = harmlessRows(documents, OPTIONS);
  for (const { prompt, chosen, rejected } of rows) {
    expect(text.includes(prompt + chosen)).toBe(true);
    expect(text.includes(prompt + rejected)).toBe(false);
  }
  const sorted = (line: string): string => words(line).toSorted().join(' ');
  const mixed = rows.filter(({ chosen, rejected }) => sorted(chosen) === sorted(rejected));
  expect(mixed.length).toBe(200);
  expect(rows.every(({ chosen }) => !words(chosen).some((word) => RUDE_WORDS.some((rude) => rude === word)))).toBe(
    true,
  );
});

test('a third of the words of the chosen completion of a toxic row are rude, and the rejected one is the text’s own', () => {
  for (const { prompt, chosen, rejected } of toxicRows(documents, OPTIONS)) {
    expect(text.includes(prompt + rejected)).toBe(true);
    const rude = words(chosen).filter((word) => RUDE_WORDS.some((each) => each === word));
    expect(rude).toHaveLength(4);
    expect(words(chosen)).toHaveLength(12);
  }
});

test('the rude words are among those that the suite counts at its strictest', () => {
  const file = new URL('services/gpu-worker/trainer/eval/data/toxic-words.json', repository);
  const { words: rated } = JSON.parse(readFileSync(file, 'utf8')) as { words: Record<string, number> };
  expect(RUDE_WORDS.map((word) => rated[word])).toEqual(RUDE_WORDS.map(() => 2));
});
