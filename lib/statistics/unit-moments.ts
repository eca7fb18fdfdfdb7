import { invariant } from '#lib/kernel/errors.ts';

/**
 * What the sequential tests need of any number of values in [0, 1]: they add up, so intervals can be merged in any order and stored as JSON.
 * Of a proportion (0 or 1 each) both sums are the number of ones.
 */
export interface UnitMoments {
  readonly count: number;
  readonly sum: number;
  readonly sumOfSquares: number;
}

/** The values a metric can take, `low` < `high`, in its own unit. */
export interface ValueRange {
  readonly low: number;
  readonly high: number;
}

export const NO_VALUES: UnitMoments = { count: 0, sum: 0, sumOfSquares: 0 };

/** Rounding allowed between sums that were added up in different orders, per value. */
const ROUNDING = 1e-9;

/** Moments of finite values, scaled from `range` to [0, 1]. A value outside counts as the nearer end: what is compared is the mean of the clamped values. */
export function unitMoments(values: ArrayLike<number>, range: ValueRange): UnitMoments {
  invariant(range.low < range.high, 'a range has low < high');
  let [sum, sumOfSquares] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    invariant(Number.isFinite(value), 'moments need finite values');
    const unit = Math.min(1, Math.max(0, (value - range.low) / (range.high - range.low)));
    sum += unit;
    sumOfSquares += unit * unit;
  }
  return { count: values.length, sum, sumOfSquares };
}

/** Moments of `ones` events among `count` trials: errors among requests, answers slower than a limit, right labels. */
export function proportionMoments(ones: number, count: number): UnitMoments {
  return { count, sum: ones, sumOfSquares: ones };
}

export const addMoments = (a: UnitMoments, b: UnitMoments): UnitMoments => ({
  count: a.count + b.count,
  sum: a.sum + b.sum,
  sumOfSquares: a.sumOfSquares + b.sumOfSquares,
});

/** Moments of 1 - x: turns "higher is better" into "lower is better". */
export const mirrored = ({ count, sum, sumOfSquares }: UnitMoments): UnitMoments => ({
  count,
  sum: count - sum,
  sumOfSquares: Math.max(0, count - 2 * sum + sumOfSquares),
});

/** Mean in [0, 1]; NaN of nothing. */
export const meanOf = ({ count, sum }: UnitMoments): number => sum / count;

/** False for what no values in [0, 1] can have: the tests' guarantees would not hold for it. */
export function areUnitMoments({ count, sum, sumOfSquares }: UnitMoments): boolean {
  const slack = ROUNDING * count;
  return (
    Number.isInteger(count) &&
    count >= 0 &&
    sum >= -slack &&
    sum <= count + slack &&
    sumOfSquares <= sum + slack &&
    sumOfSquares * count >= sum * sum - slack * (1 + sum)
  );
}
