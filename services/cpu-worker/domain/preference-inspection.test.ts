import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { splitOfPrompt } from '#lib/datasets/prompt-split.ts';
import { type InspectedPair, preferenceInspection } from './preference-inspection.ts';
import { judgePreferences } from './preference-verdict.ts';

const CONFIG = { seed: 1, validationFraction: 0.3 };

function inspect(rows: readonly unknown[]) {
  const inspection = preferenceInspection(
    (prompt) => splitOfPrompt(prompt, CONFIG),
    (text) => hash('sha256', text),
  );
  const inspected: (InspectedPair | null)[] = rows.map((row) =>
    inspection.line(typeof row === 'string' ? row : JSON.stringify(row)),
  );
  return { inspected, ...inspection.end() };
}

const pair = (prompt: string, chosen = ' good', rejected = ' bad') => ({ prompt, chosen, rejected });
const many = (count: number) => Array.from({ length: count }, (_, at) => pair(`Prompt number ${at}`));

describe('rows are looked at together', () => {
  test('a pair that comes again is named by both of its rows', () => {
    const { faults, inspected } = inspect([
      pair('a'),
      '',
      pair('b'),
      pair('a'),
      pair('a', ' good', ' worse'),
      pair('a'),
    ]);
    expect(faults).toEqual([
      {
        kind: 'duplicatePair',
        count: 2,
        first: [
          { row: 4, message: 'the pair of row 1 again' },
          { row: 6, message: 'the pair of row 1 again' },
        ],
      },
    ]);
    expect(inspected.map((each) => each !== null)).toEqual([true, false, true, false, true, false]);
  });

  test('a pair that comes the other way round is a contradiction, in every shape', () => {
    const { faults } = inspect([
      pair('a'),
      pair('a', ' bad', ' good'),
      { chosen: 'The sky is blue', rejected: 'The sky is red' },
      pair('The sky is', ' red', ' blue'),
    ]);
    expect(faults).toEqual([
      {
        kind: 'swappedPair',
        count: 2,
        first: [
          { row: 2, message: expect.stringContaining('the pair of row 1 the other way round') },
          { row: 4, message: expect.stringContaining('the pair of row 3 the other way round') },
        ],
      },
    ]);
  });

  test('where prompt and completions meet is part of a pair', () => {
    expect(inspect([pair('ab', 'c', 'd'), pair('a', 'bc', 'bd'), pair('a', 'b', 'cd')]).faults).toEqual([]);
  });

  test('every kind of fault is counted, and the first twenty rows of each are named', () => {
    const rows = [...many(2), ...Array.from({ length: 30 }, () => pair('p', ' same', ' same')), '{', pair(' ')];
    const { faults, rows: count } = inspect(rows);
    expect(count).toBe(34);
    expect(faults.map(({ kind, count: of, first }) => [kind, of, first.length, first[0]?.row])).toEqual([
      ['malformed', 1, 1, 33],
      ['emptyPrompt', 1, 1, 34],
      ['equalPair', 30, 20, 3],
    ]);
  });
});

describe('what is allowed is said', () => {
  test('prompts that are repeated with other completions', () => {
    const found = inspect([pair('a'), pair('b'), pair('a', ' better'), pair('a', ' best')]);
    expect(found).toMatchObject({ pairs: 4, prompts: 2, faults: [] });
    expect(found.warnings).toMatchObject([{ kind: 'repeatedPrompt', count: 2, first: [{ row: 3 }, { row: 4 }] }]);
  });

  test('rows of another shape than the first', () => {
    const found = inspect([pair('a'), { chosen: 'Go on', rejected: 'Go off' }]);
    expect(found.warnings).toMatchObject([{ kind: 'mixedShapes', first: [{ row: 2 }] }]);
  });
});

describe('the split', () => {
  test('holds out about the asked share of prompts, and both splits share none', () => {
    const rows = Array.from({ length: 3_000 }, (_, at) => pair(`Prompt number ${at % 1_000}`, ` good ${at}`));
    const { inspected, prompts, trainPairs, validationPairs } = inspect(rows);
    expect(prompts).toBe(1_000);
    expect(trainPairs + validationPairs).toBe(3_000);
    // 1,000 prompts: the standard error is 0.0145.
    expect(Math.abs(validationPairs / 3_000 - 0.3)).toBeLessThan(0.06);
    const of = (split: string) =>
      new Set(inspected.flatMap((each) => (each?.split === split ? [each.pair.prompt] : [])));
    expect([...of('train')].filter((prompt) => of('validation').has(prompt))).toEqual([]);
  });

  test('prompts that differ in case, white space and punctuation are on one side, and those that would not be are named', () => {
    const forms = (at: number) => [`what IS  ${at}?`, `What is ${at}`, `“What is ${at}!”`];
    const rows = Array.from({ length: 200 }, (_, at) => forms(at)).flatMap((each) =>
      each.map((prompt) => pair(prompt)),
    );
    const { inspected, warnings, faults } = inspect(rows);
    expect(faults).toEqual([]);
    for (let at = 0; at < rows.length; at += 3)
      expect(new Set(inspected.slice(at, at + 3).map((each) => each?.split)).size).toBe(1);
    // By the hash of the prompt alone some 0.42 of the later forms were on the other side.
    const alone = rows.map(({ prompt }) => splitOfPrompt(prompt, CONFIG));
    const expected = rows.flatMap((_, at) => (at % 3 > 0 && alone[at] !== alone[at - (at % 3)] ? [at + 1] : []));
    expect(expected.length).toBeGreaterThan(100);
    const [leak] = warnings;
    expect(leak).toMatchObject({ kind: 'leakPrevented', count: expected.length });
    expect(leak?.first.map(({ row }) => row)).toEqual(expected.slice(0, 20));
  });

  test('does not depend on other rows or their order', () => {
    const rows = many(50);
    const splits = (of: readonly unknown[]) =>
      new Map(
        inspect(of).inspected.flatMap((each) => (each === null ? [] : [[each.pair.prompt, each.split] as const])),
      );
    const forwards = splits(rows);
    const some = splits(rows.toReversed().slice(0, 20));
    for (const [prompt, split] of some) expect(forwards.get(prompt)).toBe(split);
  });

  test('knows the first pair of each prompt', () => {
    const { inspected } = inspect([pair('a'), pair('b'), pair('a', ' better')]);
    expect(inspected.map((each) => each?.isFirstOfPrompt)).toEqual([true, true, false]);
  });
});

describe('the verdict', () => {
  const judge = (rows: readonly unknown[]) => judgePreferences(inspect(rows));

  test('is one refusal that counts every kind and names its first rows', () => {
    const rows = [...many(40), '{', ...Array.from({ length: 12 }, () => pair('p', ' same', ' same')), pair('x', ' ')];
    expect(judge(rows)).toEqual({
      ok: false,
      code: 'PreferenceDataInvalid',
      message:
        '14 of 54 rows cannot be used: malformed 1 (row 41); emptyCompletion 1 (row 54); ' +
        'equalPair 12 (rows 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, ...)',
    });
  });

  test('refuses a dataset without pairs, and one whose splits cannot both have some', () => {
    expect(judge(['', ' '])).toMatchObject({ ok: false, code: 'DatasetEmpty' });
    expect(judge([pair('a')])).toMatchObject({ ok: false, code: 'DatasetSplitEmpty' });
  });

  test('refuses more pairs than memory is meant for', () => {
    const found = inspect(many(40));
    expect(judgePreferences({ ...found, pairs: 1_000_001 })).toMatchObject({ ok: false, code: 'DatasetTooLarge' });
  });

  test('accepts everything else, warnings included', () => {
    expect(judge([...many(40), pair('Prompt number 1', ' better')])).toEqual({ ok: true });
  });
});
