import { invariant } from '#lib/kernel/errors.ts';
import { logGamma } from './gamma.ts';

const MAX_TERMS = 10_000;
const PRECISION = 1e-16;
const TINY = 1e-300;
/** Halvings of the quantile's bracket: more than a double has bits. */
const HALVINGS = 200;

/** Probability that Student's t with `degreesOfFreedom` > 0 exceeds `t`. */
export function studentTSurvival(t: number, degreesOfFreedom: number): number {
  invariant(degreesOfFreedom > 0, 'Student t needs degrees of freedom > 0');
  const tail = 0.5 * incompleteBeta(degreesOfFreedom / 2, 0.5, degreesOfFreedom / (degreesOfFreedom + t * t));
  return t >= 0 ? tail : 1 - tail;
}

/** The value that Student's t exceeds with probability `tail` in (0, 1); found by bisection to the last bits of a double. */
export function studentTUpperQuantile(tail: number, degreesOfFreedom: number): number {
  invariant(tail > 0 && tail < 1, 'a tail probability lies in (0, 1)');
  if (tail > 0.5) return -studentTUpperQuantile(1 - tail, degreesOfFreedom);
  let low = 0;
  let high = 1;
  while (studentTSurvival(high, degreesOfFreedom) > tail) high *= 2;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (studentTSurvival(middle, degreesOfFreedom) > tail) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Regularised incomplete beta I_x(a, b), a, b > 0, 0 <= x <= 1 (DLMF 8.17; continued fraction 8.17.22). In [0, 1]. */
export function incompleteBeta(a: number, b: number, x: number): number {
  invariant(a > 0 && b > 0 && x >= 0 && x <= 1, 'incompleteBeta needs a, b > 0 and 0 <= x <= 1');
  if (x === 0 || x === 1) return x;
  const scale = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  // The fraction converges fast on this side of the mean only.
  return x < (a + 1) / (a + b + 2) ? (scale * fraction(a, b, x)) / a : 1 - (scale * fraction(b, a, 1 - x)) / b;
}

function fraction(a: number, b: number, x: number): number {
  let c = 1;
  let d = 1 / nonZero(1 - ((a + b) * x) / (a + 1));
  let value = d;
  for (let m = 1; m < MAX_TERMS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonZero(1 + even * d);
    c = nonZero(1 + even / c);
    value *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonZero(1 + odd * d);
    c = nonZero(1 + odd / c);
    const factor = d * c;
    value *= factor;
    if (Math.abs(factor - 1) < 4 * PRECISION) return value;
  }
  throw new RangeError(`incomplete beta fraction of a = ${a}, b = ${b}, x = ${x} does not converge`);
}

const nonZero = (value: number): number => (Math.abs(value) < TINY ? TINY : value);
