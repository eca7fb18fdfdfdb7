import { invariant } from '../kernel/errors.ts';
import type { RandomStream } from '../kernel/random.ts';
import type { Choice, NumericParameter, Parameter } from './search-space.ts';

/** Relative slack for "the range is a whole number of steps": 0.1 to 0.5 by 0.1 is 4.000000000000001 steps. */
const STEP_SLACK = 1e-9;
/** Digits that survive the arithmetic of `min + k * step`: 0.1 + 2 * 0.1 shall be 0.3. */
const STEP_DIGITS = 15;

/** The distance of neighbouring values; null for a continuous float. */
export function stepOf(parameter: NumericParameter): number | null {
  return parameter.step ?? (parameter.type === 'int' ? 1 : null);
}

/** True when max is reached from min in whole steps. */
export function stepFits(parameter: NumericParameter): boolean {
  const step = stepOf(parameter);
  if (step === null) return true;
  const steps = (parameter.max - parameter.min) / step;
  return Math.abs(steps - Math.round(steps)) <= STEP_SLACK * Math.max(1, steps);
}

/** How many values the parameter has; Infinity for a continuous float with more than one. */
export function valueCount(parameter: Parameter): number {
  if (parameter.type === 'categorical') return parameter.choices.length;
  if (parameter.min === parameter.max) return 1;
  const step = stepOf(parameter);
  return step === null ? Infinity : Math.round((parameter.max - parameter.min) / step) + 1;
}

/** The value at `index` in ascending order, choices in their own. `index` is in 0 .. valueCount - 1. */
export function valueAt(parameter: Parameter, index: number): Choice {
  if (parameter.type === 'categorical') {
    const choice = parameter.choices[index];
    invariant(choice !== undefined, `${parameter.name} has no choice ${index}`);
    return choice;
  }
  return steppedValue(parameter, index);
}

/** True when the value is one that the parameter can take. */
export function hasValue(parameter: Parameter, value: Choice): boolean {
  if (parameter.type === 'categorical') return parameter.choices.includes(value);
  return typeof value === 'number' && nearestValue(parameter, value) === value;
}

/** The value of the parameter that is nearest to a number: inside the range, on a step. */
export function nearestValue(parameter: NumericParameter, x: number): number {
  const step = stepOf(parameter);
  if (step === null) return Math.min(parameter.max, Math.max(parameter.min, x));
  const index = Math.round((x - parameter.min) / step);
  return steppedValue(parameter, Math.min(valueCount(parameter) - 1, Math.max(0, index)));
}

/** Bounds in which a stepped value has half a step on either side, so that each value is as likely as the others. */
export function paddedRange(parameter: NumericParameter): { low: number; high: number } {
  const half = (stepOf(parameter) ?? 0) / 2;
  return { low: parameter.min - half, high: parameter.max + half };
}

/** A value drawn uniformly, of a log parameter uniformly in the logarithm. One number of the stream, always. */
export function drawValue(parameter: Parameter, random: RandomStream): Choice {
  const u = random.next();
  if (parameter.type === 'categorical') return valueAt(parameter, Math.floor(u * parameter.choices.length));
  const { low, high } = paddedRange(parameter);
  const x =
    parameter.log === true ? Math.exp(Math.log(low) + u * (Math.log(high) - Math.log(low))) : low + u * (high - low);
  return nearestValue(parameter, x);
}

function steppedValue(parameter: NumericParameter, index: number): number {
  const step = stepOf(parameter);
  if (index === 0 || step === null) return parameter.min;
  if (index === valueCount(parameter) - 1) return parameter.max;
  const value = parameter.min + index * step;
  return parameter.type === 'int' ? value : Number(value.toPrecision(STEP_DIGITS));
}
