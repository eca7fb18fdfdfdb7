import { describe, expect, it } from 'vitest';
import { unstorable } from './storable.ts';

const NUL = String.fromCodePoint(0);

describe('text that no table takes', () => {
  it('is named by its pointer, wherever it stands', () => {
    const value = { a: `x${NUL}`, 'b/c': ['fine', '\ud800'], d: { e: 1, f: null, g: 'ü🚂' } };
    expect(unstorable(value).map(({ pointer }) => pointer)).toEqual(['/a', '/b~1c/1']);
  });

  it('is found in the name of a member, and the answer does not repeat it', () => {
    expect(unstorable({ labels: { [`n${NUL}`]: 'v' } })).toMatchObject([{ pointer: '/labels/?' }]);
  });

  it('is what is nested so deep that every look at it exhausts the stack', () => {
    const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
    expect(unstorable(nested(100))).toEqual([]);
    expect(unstorable({ spec: nested(400_000) })).toHaveLength(1);
  });

  it('is nothing else', () => {
    expect(unstorable({ text: 'any text \n \u0001 é 🚂', n: 1 })).toEqual([]);
    expect(unstorable(null)).toEqual([]);
  });
});
