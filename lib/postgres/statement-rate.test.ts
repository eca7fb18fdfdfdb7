import { expect, it } from 'vitest';
import { StatementRate } from './statement-rate.ts';

/** What is said to statements at these times. */
const answers = (times: readonly number[]): boolean[] => {
  const rate = new StatementRate();
  return times.map((at) => rate.isBusy(at));
};
const every = (ms: number, count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i * ms);

it('a process is quiet with 40 statements a second, however long', () => {
  expect(answers(every(25, 400))).not.toContain(true);
});

it('is busy from the 51st statement of a second on, and in the second after it', () => {
  const said = answers([...every(10, 60), 1_200, 1_900, 2_100]);
  expect(said.indexOf(true)).toBe(50);
  expect(said.slice(50)).not.toContain(false);
});

it('is quiet again after a second with few statements', () => {
  expect(answers([...every(10, 60), 1_200, 2_300, 3_500]).slice(-2)).toEqual([false, false]);
  expect(answers([...every(10, 60), 5_000]).at(-1)).toBe(false);
});
