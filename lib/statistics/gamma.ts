import { invariant } from '#lib/kernel/errors.ts';

/** Terms of a series or continued fraction at most; both converge in about 5 sqrt(a) terms, so this serves shapes up to 10^7. */
const MAX_TERMS = 20_000;
const PRECISION = 1e-16;
/** Keeps the continued fraction from dividing by zero (Lentz). */
const TINY = 1e-300;

const LANCZOS_G = 607 / 128;
const LANCZOS: readonly number[] = [
  0.9999999999999971, 57.15623566586292, -59.59796035547549, 14.136097974741746, -0.4919138160976202,
  0.00003399464998481189, 0.00004652362892704858, -0.00009837447530487956, 0.0001580887032249125,
  -0.00021026444172410488, 0.00021743961811521265, -0.0001643181065367639, 0.00008441822398385275,
  -0.000026190838401581408, 0.0000036899182659531625,
];

/** Natural logarithm of the gamma function for x > 0; absolute error about 1e-14 (Lanczos 1964, g = 607/128, 15 terms by Godfrey). */
export function logGamma(x: number): number {
  invariant(x > 0, 'logGamma needs x > 0');
  let sum = LANCZOS[0] as number;
  for (let i = 1; i < LANCZOS.length; i++) sum += (LANCZOS[i] as number) / (x - 1 + i);
  const t = x - 0.5 + LANCZOS_G;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/**
 * Regularised upper incomplete gamma Q(a, x), a > 0, x >= 0 (DLMF 8.2.4): series below a + 1, continued fraction above
 * (Numerical Recipes, section 6.2). In [0, 1].
 */
export function upperGamma(a: number, x: number): number {
  invariant(a > 0 && x >= 0, 'upperGamma needs a > 0 and x >= 0');
  if (x === 0) return 1;
  if (x === Infinity) return 0;
  const scale = Math.exp(a * Math.log(x) - x - logGamma(a));
  return x < a + 1 ? 1 - scale * lowerSeries(a, x) : scale * upperFraction(a, x);
}

/** Probability that a chi-square variable with `degreesOfFreedom` > 0 exceeds `statistic` >= 0. */
export const chiSquareSurvival = (statistic: number, degreesOfFreedom: number): number =>
  upperGamma(degreesOfFreedom / 2, statistic / 2);

function lowerSeries(a: number, x: number): number {
  let term = 1 / a;
  let sum = term;
  for (let n = 1; n < MAX_TERMS; n++) {
    term *= x / (a + n);
    sum += term;
    if (term < sum * PRECISION) return sum;
  }
  throw new RangeError(`incomplete gamma series of a = ${a}, x = ${x} does not converge`);
}

function upperFraction(a: number, x: number): number {
  let b = x + 1 - a;
  let c = 1 / TINY;
  let d = 1 / b;
  let value = d;
  for (let n = 1; n < MAX_TERMS; n++) {
    const an = -n * (n - a);
    b += 2;
    d = 1 / nonZero(an * d + b);
    c = nonZero(b + an / c);
    const factor = d * c;
    value *= factor;
    if (Math.abs(factor - 1) < 4 * PRECISION) return value;
  }
  throw new RangeError(`incomplete gamma fraction of a = ${a}, x = ${x} does not converge`);
}

const nonZero = (value: number): number => (Math.abs(value) < TINY ? TINY : value);
