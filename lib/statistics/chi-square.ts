import { invariant } from '#lib/kernel/errors.ts';
import { chiSquareSurvival } from './gamma.ts';

export interface ChiSquareResult {
  readonly statistic: number;
  readonly degreesOfFreedom: number;
  /** 1 when fewer than two categories are left to compare. */
  readonly pValue: number;
  /** Categories that were put together because too few observations were expected in them. */
  readonly pooled: number;
}

/** Fewest expected observations of a cell: below it the chi-square law is not trusted (Cochran 1954, Biometrics 10). */
const FEWEST_EXPECTED = 5;

/**
 * Pearson's test that two count vectors over the same categories come from one distribution (2 x K table, no continuity correction).
 * The rarest categories are pooled, rarest first (ties: by position), until every expected count is at least `fewestExpected`; the choice looks at the totals of
 * both rows only, so it does not bias the test. `fewestExpected` 0 pools only what is empty in both. Counts are >= 0, both rows have a positive sum.
 */
export function chiSquareHomogeneity(
  reference: ArrayLike<number>,
  window: ArrayLike<number>,
  fewestExpected = FEWEST_EXPECTED,
): ChiSquareResult {
  invariant(reference.length === window.length, 'both rows have the same categories');
  const sizes = [sum(reference), sum(window)] as const;
  invariant(sizes[0] > 0 && sizes[1] > 0, 'the chi-square test needs observations in both rows');
  const smallerShare = Math.min(...sizes) / (sizes[0] + sizes[1]);
  const order = Array.from({ length: reference.length }, (_, i) => i).sort(
    (a, b) => total(reference, window, a) - total(reference, window, b) || a - b,
  );
  // The pool takes the rarest until both it and the rarest category outside are large enough.
  const pool = [0, 0] as [number, number];
  let next = 0;
  const enough = (count: number): boolean => count > 0 && count * smallerShare >= fewestExpected;
  while (next < order.length) {
    const rarest = order[next] as number;
    const filled = pool[0] + pool[1];
    if ((next === 0 || filled === 0 || enough(filled)) && enough(total(reference, window, rarest))) break;
    pool[0] += reference[rarest] as number;
    pool[1] += window[rarest] as number;
    next++;
  }
  const cells = order.slice(next).map((i) => [reference[i] as number, window[i] as number] as const);
  if (pool[0] + pool[1] > 0) cells.push(pool);
  return { ...pearson(cells, sizes), pooled: next };
}

function pearson(
  cells: readonly (readonly [number, number])[],
  sizes: readonly [number, number],
): Omit<ChiSquareResult, 'pooled'> {
  const all = sizes[0] + sizes[1];
  let statistic = 0;
  for (const cell of cells)
    for (const row of [0, 1] as const) {
      const expected = ((cell[0] + cell[1]) * sizes[row]) / all;
      statistic += (cell[row] - expected) ** 2 / expected;
    }
  const degreesOfFreedom = Math.max(0, cells.length - 1);
  const pValue = degreesOfFreedom === 0 ? 1 : chiSquareSurvival(statistic, degreesOfFreedom);
  return { statistic, degreesOfFreedom, pValue };
}

const total = (reference: ArrayLike<number>, window: ArrayLike<number>, at: number): number =>
  (reference[at] as number) + (window[at] as number);

function sum(counts: ArrayLike<number>): number {
  let all = 0;
  for (let i = 0; i < counts.length; i++) all += counts[i] as number;
  return all;
}
