import type { Configuration } from './configuration.ts';
import type { Choice, Constraint, Operand, Parameter } from './search-space.ts';

/** Slack of `==` and `!=`: 0.1 + 0.2 equals 0.3 for a person. Relative to the larger side. */
const EQUALITY_SLACK = 1e-9;

/** Whether the constraint holds; null when one of its parameters has no value, so that it says nothing (yet). */
export function constraintHolds(constraint: Constraint, configuration: Configuration): boolean | null {
  const left = evaluate(constraint.left, configuration);
  const right = evaluate(constraint.right, configuration);
  if (left === null || right === null) return null;
  const equal = Math.abs(left - right) <= EQUALITY_SLACK * Math.max(Math.abs(left), Math.abs(right));
  switch (constraint.operator) {
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    case '>=':
      return left >= right;
    case '==':
      return equal;
    case '!=':
      return !equal;
  }
}

/** A parameter's name in a constraint, with its JSON pointer from the constraint on. */
export interface Mention {
  readonly name: string;
  readonly pointer: string;
}

/** Every mention of a parameter, from left to right. */
export function mentionsOf(constraint: Constraint): Mention[] {
  return (['left', 'right'] as const).flatMap((side) => {
    const operand = constraint[side];
    if (typeof operand === 'number') return [];
    if ('parameter' in operand) return [{ name: operand.parameter, pointer: `/${side}/parameter` }];
    return operand.terms.flatMap((term, t) =>
      term.parameters.map((name, p) => ({ name, pointer: `/${side}/terms/${t}/parameters/${p}` })),
    );
  });
}

/**
 * True when no values in the parameters' ranges satisfy the constraint, by interval arithmetic: false does not promise that some do.
 * All its parameters are in `parameters` and numeric.
 */
export function isImpossible(constraint: Constraint, parameters: ReadonlyMap<string, Parameter>): boolean {
  const left = boundsOf(constraint.left, parameters);
  const right = boundsOf(constraint.right, parameters);
  switch (constraint.operator) {
    case '<':
      return left.min >= right.max;
    case '<=':
      return left.min > right.max;
    case '>':
      return left.max <= right.min;
    case '>=':
      return left.max < right.min;
    case '==':
      return left.min > right.max || left.max < right.min;
    case '!=':
      return left.min === left.max && right.min === right.max && left.min === right.min;
  }
}

function evaluate(operand: Operand, configuration: Configuration): number | null {
  if (typeof operand === 'number') return operand;
  if ('parameter' in operand) return numberIn(configuration, operand.parameter);
  let sum = operand.constant ?? 0;
  for (const term of operand.terms) {
    let product = term.factor ?? 1;
    for (const name of term.parameters) {
      const value = numberIn(configuration, name);
      if (value === null) return null;
      product *= value;
    }
    sum += product;
  }
  return sum;
}

function numberIn(configuration: Configuration, name: string): number | null {
  const value: Choice | undefined = Object.hasOwn(configuration, name) ? configuration[name] : undefined;
  return typeof value === 'number' ? value : null;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

function boundsOf(operand: Operand, parameters: ReadonlyMap<string, Parameter>): Bounds {
  if (typeof operand === 'number') return { min: operand, max: operand };
  if ('parameter' in operand) return rangeOf(parameters.get(operand.parameter));
  const terms = operand.terms.map((term) =>
    term.parameters
      .map((name) => rangeOf(parameters.get(name)))
      .reduce(product, { min: term.factor ?? 1, max: term.factor ?? 1 }),
  );
  const constant = operand.constant ?? 0;
  return terms.reduce((sum, term) => ({ min: sum.min + term.min, max: sum.max + term.max }), {
    min: constant,
    max: constant,
  });
}

function product(a: Bounds, b: Bounds): Bounds {
  const corners = [a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max];
  return { min: Math.min(...corners), max: Math.max(...corners) };
}

function rangeOf(parameter: Parameter | undefined): Bounds {
  if (parameter === undefined) return { min: -Infinity, max: Infinity };
  if (parameter.type !== 'categorical') return { min: parameter.min, max: parameter.max };
  const numbers = parameter.choices.map(Number);
  return { min: Math.min(...numbers), max: Math.max(...numbers) };
}
