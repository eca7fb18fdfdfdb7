import type { RandomStream } from '../kernel/random.ts';
import { logNormalDensity, logNormalMass, truncatedNormalQuantile } from './normal-distribution.ts';
import { nearestValue, paddedRange, stepOf } from './parameter-values.ts';
import type { NumericParameter, Parameter } from './search-space.ts';

/** Of so many newest observations all have full weight; older ones fade linearly. */
const FULL_WEIGHTS = 25;
const PRIOR_WEIGHT = 1;
/** Kernels are never narrower than a hundredth of the range, however many observations there are. */
const NARROWEST = 100;

/** A density over several parameters at once. Points are numbers in the parameters' order: values, or indices of choices. */
export interface ParzenEstimator {
  draw(random: RandomStream): number[];
  /** log of the density (of the probability, for parameters with steps or choices). */
  logDensity(point: readonly number[]): number;
}

/** One kernel per observation and, last, the prior. */
interface Marginal {
  draw(kernel: number, random: RandomStream): number;
  logDensity(kernel: number, x: number): number;
}

/**
 * Optuna 5's Parzen estimator, multivariate: a mixture with one product of kernels per observation and one for the prior. Numeric
 * kernels are normals cut off at the range, wide as the larger gap to a neighbour (rules at `widths`), log parameters in the
 * logarithm; stepped ones integrate over half a step to either side. `observations` in order of age, oldest first.
 */
export function parzenEstimator(
  parameters: readonly Parameter[],
  observations: readonly (readonly number[])[],
): ParzenEstimator {
  const weights = kernelWeights(observations.length);
  const logWeights = weights.map(Math.log);
  const marginals = parameters.map((parameter, d) => {
    const values = observations.map((point) => point[d] as number);
    return parameter.type === 'categorical'
      ? categoricalMarginal(parameter.choices.length, values)
      : numericMarginal(parameter, values);
  });
  return {
    draw(random) {
      const kernel = pick(weights, random.next());
      return marginals.map((marginal) => marginal.draw(kernel, random));
    },
    logDensity(point) {
      const terms = logWeights.map((logWeight, kernel) =>
        marginals.reduce((sum, marginal, d) => sum + marginal.logDensity(kernel, point[d] as number), logWeight),
      );
      const highest = terms.reduce((a, b) => Math.max(a, b), -Infinity);
      if (highest === -Infinity) return highest;
      return highest + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - highest), 0));
    },
  };
}

/** Normalised weights of n observations, oldest first, and of the prior. */
function kernelWeights(n: number): number[] {
  const ramp = Math.max(0, n - FULL_WEIGHTS);
  const observed = Array.from({ length: n }, (_, i) => {
    if (i >= ramp) return 1;
    return ramp === 1 ? 1 / n : 1 / n + (i * (1 - 1 / n)) / (ramp - 1);
  });
  const all = [...observed, PRIOR_WEIGHT];
  const total = all.reduce((a, b) => a + b, 0);
  return all.map((weight) => weight / total);
}

/** The index whose share of the weights contains u in [0, 1). */
function pick(weights: readonly number[], u: number): number {
  let sum = 0;
  for (const [i, weight] of weights.entries()) {
    sum += weight;
    if (u < sum) return i;
  }
  return weights.length - 1;
}

/** Each kernel: the prior's uniform share, and 1 for the choice that was observed. */
function categoricalMarginal(choices: number, values: readonly number[]): Marginal {
  const kernels = values.length + 1;
  const share = values.length === 0 ? 1 / choices : PRIOR_WEIGHT / kernels;
  const probabilities = Array.from({ length: kernels }, (_, k) => {
    const row = Array.from({ length: choices }, (_, c) => share + (values[k] === c ? 1 : 0));
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((weight) => weight / total);
  });
  return {
    draw: (kernel, random) => pick(probabilities[kernel] as number[], random.next()),
    logDensity: (kernel, x) => Math.log((probabilities[kernel] as number[])[x] as number),
  };
}

function numericMarginal(parameter: NumericParameter, values: readonly number[]): Marginal {
  const log = parameter.log === true;
  const onAxis = (x: number): number => (log ? Math.log(x) : x);
  const padded = paddedRange(parameter);
  const [low, high] = [onAxis(padded.low), onAxis(padded.high)];
  // A range whose ends have one logarithm: no kernel has a width in it, and no value is likelier than another.
  if (low === high) return { draw: () => parameter.min, logDensity: () => 0 };
  const half = (stepOf(parameter) ?? 0) / 2;
  const observed = values.map(onAxis);
  const mu = [...observed, (low + high) / 2];
  const sigma = [...widths(observed, low, high), high - low];
  const logMass = mu.map((m, k) => logNormalMass((low - m) / (sigma[k] as number), (high - m) / (sigma[k] as number)));
  return {
    draw(kernel, random) {
      const [m, s] = [mu[kernel] as number, sigma[kernel] as number];
      const x = m + s * truncatedNormalQuantile(random.next(), (low - m) / s, (high - m) / s);
      return nearestValue(parameter, log ? Math.exp(x) : x);
    },
    logDensity(kernel, x) {
      const [m, s] = [mu[kernel] as number, sigma[kernel] as number];
      const inside =
        half === 0
          ? logNormalDensity((onAxis(x) - m) / s) - Math.log(s)
          : logNormalMass((onAxis(x - half) - m) / s, (onAxis(x + half) - m) / s);
      return inside - (logMass[kernel] as number);
    },
  };
}

/**
 * Standard deviation per observation: the larger gap to a neighbour, in [range / min(100, 2 + n), range]. The bounds count as
 * neighbours of a single observation only: with more, a kernel at the edge looks inwards.
 */
function widths(values: readonly number[], low: number, high: number): number[] {
  const order = values.map((_, i) => i).sort((a, b) => (values[a] as number) - (values[b] as number));
  const sorted = order.map((i) => values[i] as number);
  const result = values.map(() => 0);
  const [narrowest, widest] = [(high - low) / Math.min(NARROWEST, 2 + values.length), high - low];
  for (const [at, i] of order.entries()) {
    const x = sorted[at] as number;
    const alone = sorted.length === 1;
    const below = sorted[at - 1] ?? (alone ? low : x);
    const above = sorted[at + 1] ?? (alone ? high : x);
    result[i] = Math.min(widest, Math.max(narrowest, Math.max(x - below, above - x)));
  }
  return result;
}
