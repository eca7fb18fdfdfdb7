import { assert, constantFrom, json, nat, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonErrorPosition } from './json-position.ts';

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

describe('jsonErrorPosition', () => {
  it.each([
    ['{"a": }', 6],
    ['{"a": 1,}', 8],
    ['[1, 2', 5],
    ['{"a" 1}', 5],
    ['{a: 1}', 1],
    ['01', 1],
    ['"a\nb"', 2],
    ['"\\x"', 1],
    ['[1] 2', 4],
    ['nul', 0],
    ['[1}', 2],
    ['', 0],
  ])('%j breaks at %i', (text, position) => {
    expect(jsonErrorPosition(text)).toBe(position);
  });

  it('agrees with JSON.parse about what is JSON, whatever is cut out of it or put in', () => {
    assert(
      property(
        json(),
        nat(),
        nat(),
        constantFrom('', '{', '}', '[', ']', ',', ':', '"', '\\', '1', '-', 'e', ' '),
        (text, a, b, put) => {
          const at = a % (text.length + 1);
          const broken = text.slice(0, at) + put + text.slice(at + (b % 3));
          expect([broken, jsonErrorPosition(broken) === null]).toEqual([broken, isJson(broken)]);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('a million brackets are no problem', () => {
    expect(jsonErrorPosition('['.repeat(1_000_000))).toBe(1_000_000);
  });
});
