import { logEvidenceAbove, logEvidenceBelow } from './betting.ts';
import { meanOf, type UnitMoments } from './unit-moments.ts';

export interface TwoArmEvidence {
  /** True: the hypothesis is rejected at the level of the threshold, for good. */
  readonly proven: boolean;
  /** Natural log of the evidence, from above when not proven and about the threshold when only just proven: for people, not for decisions. */
  readonly logEvidence: number;
}

/** Halvings of [0, 1] at most: cells of 2^-30 are finer than any rate a production log can tell apart. */
const MAX_HALVINGS = 30;

/**
 * Is it proven that mean(treated) exceeds mean(control) + `margin`? H0 says there is a control mean m with treated mean <= m + margin. Given m, the product of
 * the treated arm's capital against "<= m + margin" and the control arm's against ">= m" is a supermartingale under H0; the
 * least of it over all m therefore is evidence that holds under continuous looking (Ramdas, Ruf, Larsson and Koolen 2022, on composite nulls).
 * `logThreshold` = ln(1 / alpha). `margin` in [-1, 1], arms in unit scale; an arm without values proves nothing. The search over m is rigorous: the treated
 * capital falls and the control capital rises with m, so a cell [l, r] is at least treated(r) x control(l).
 */
export function exceedsByMargin(
  treated: UnitMoments,
  control: UnitMoments,
  margin: number,
  logThreshold: number,
): TwoArmEvidence {
  if (treated.count === 0 || control.count === 0) return { proven: false, logEvidence: 0 };
  const above = (m: number): number => logEvidenceAbove(treated, m + margin);
  const below = (m: number): number => logEvidenceBelow(control, m);
  let least = Infinity;
  const at = (m: number): number => {
    const log = above(m) + below(m);
    least = Math.min(least, log);
    return log;
  };
  const reaches = (low: number, high: number, halvings: number): boolean => {
    if (above(high) + below(low) >= logThreshold) return true;
    const middle = (low + high) / 2;
    if (halvings === 0 || at(middle) < logThreshold) return false;
    return reaches(low, middle, halvings - 1) && reaches(middle, high, halvings - 1);
  };
  // Where the least is about: most looks end here, with two evaluations.
  const guess = at(commonMean(treated, control, margin));
  const proven = guess >= logThreshold && reaches(0, 1, MAX_HALVINGS);
  return { proven, logEvidence: least };
}

/** The control mean under which both arms are least surprising when they differ by just the margin. */
function commonMean(treated: UnitMoments, control: UnitMoments, margin: number): number {
  const all = treated.count + control.count;
  const mean = ((meanOf(treated) - margin) * treated.count + meanOf(control) * control.count) / all;
  return Math.min(1, Math.max(0, mean));
}
