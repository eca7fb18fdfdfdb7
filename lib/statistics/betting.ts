import { mirrored, type UnitMoments } from './unit-moments.ts';

/**
 * Sequential tests by betting. H0: every value has mean at most `m` given the past. A gambler who stakes the share b of the capital on every value
 * has capital K = product of 1 + b (x - m) / m, which under H0 is a non-negative supermartingale from 1: the chance that it EVER reaches
 * 1 / alpha is at most alpha (Ville), however often one looks and whenever one stops (Waudby-Smith and Ramdas 2024, J. R. Stat. Soc. B 86, section 4).
 * The stakes here are fixed and mixed with equal weight, so that no look at the data has to choose one.
 */
const STAKES: readonly number[] = Array.from({ length: 14 }, (_, k) => 0.9 / 2 ** k);
/** Per stake: ln(1 - b), and psi(b) = -ln(1 - b) - b of the bound below. */
const LOG_LOSS = STAKES.map((stake) => Math.log1p(-stake));
const PSI = STAKES.map((stake) => -Math.log1p(-stake) - stake);

/** Log-evidence against what cannot be: far above any threshold, and unlike infinity a number in JSON. */
const CERTAIN = 1e6;

/**
 * Log-capital of the stakes one by one, against H0 "mean <= m", from moments only. The product over values is bounded from below in two ways, and
 * a bound of a supermartingale keeps the guarantee: by concavity (exact for values 0 and 1), and by ln(1 + b y) >= b y - psi(b) y^2 for
 * y >= -1 (Fan, Grama and Liu 2015, Electron. J. Probab. 20, lemma 4.1), which pays when values vary little.
 */
export function logCapitals({ count, sum, sumOfSquares }: UnitMoments, m: number): number[] {
  if (m <= 0) return STAKES.map(() => (m < 0 || sum > 0 ? CERTAIN : 0));
  const gain = 1 / m - 1;
  const linear = sum / m - count;
  const quadratic = Math.max(0, sumOfSquares / (m * m) - (2 * sum) / m + count);
  return STAKES.map((stake, k) =>
    Math.max(
      sum * Math.log1p(stake * gain) + (count - sum) * (LOG_LOSS[k] as number),
      stake * linear - (PSI[k] as number) * quadratic,
    ),
  );
}

/** Log of the mean of exp(x): the capital of a gambler who spread the first coin evenly. */
export function logMeanExp(logs: readonly number[]): number {
  let largest = -Infinity;
  for (const log of logs) largest = Math.max(largest, log);
  let sum = 0;
  for (const log of logs) sum += Math.exp(log - largest);
  return largest + Math.log(sum / logs.length);
}

/** Natural log of the evidence (e-value) against "the mean is at most `m`"; reaching ln(1 / alpha) rejects it at level alpha at any time. */
export const logEvidenceAbove = (moments: UnitMoments, m: number): number => logMeanExp(logCapitals(moments, m));

/** The same against "the mean is at least `m`". */
export const logEvidenceBelow = (moments: UnitMoments, m: number): number => logEvidenceAbove(mirrored(moments), 1 - m);
