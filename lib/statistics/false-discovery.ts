import { invariant } from '#lib/kernel/errors.ts';

/**
 * Benjamini-Hochberg adjusted p-values in the order given (1995, J. R. Stat. Soc. B 57): rejecting those at most `q` keeps the expected share of false
 * rejections at or below `q` for independent or positively dependent tests. Without any drift it is the chance of any alarm. Values in [0, 1].
 */
export function benjaminiHochberg(pValues: readonly number[]): number[] {
  const count = pValues.length;
  for (const p of pValues) invariant(p >= 0 && p <= 1, 'a p-value lies in [0, 1]');
  const order = pValues.map((_, at) => at).sort((a, b) => (pValues[b] as number) - (pValues[a] as number));
  const adjusted = pValues.slice();
  let least = 1;
  for (const [at, index] of order.entries()) {
    least = Math.min(least, ((pValues[index] as number) * count) / (count - at));
    adjusted[index] = least;
  }
  return adjusted;
}
