import { invariant } from '../kernel/errors.ts';
import { constraintHolds } from './constraint.ts';
import { hasValue } from './parameter-values.ts';
import type { Choice, Condition, Parameter, SearchSpace } from './search-space.ts';

/** Values of the active parameters by name, in the order of the space; an inactive parameter is absent. */
export type Configuration = Readonly<Record<string, Choice>>;

/** The value of a parameter, undefined when it is inactive. Names like `constructor` are names. */
export function valueIn(configuration: Configuration, name: string): Choice | undefined {
  return Object.hasOwn(configuration, name) ? configuration[name] : undefined;
}

/** True when the parameter exists beside these values: it has no condition, or its condition holds. */
export function isActive(parameter: Parameter, configuration: Configuration): boolean {
  if (parameter.when === undefined) return true;
  const value = valueIn(configuration, parameter.when.parameter);
  return value !== undefined && acceptedValues(parameter.when).includes(value);
}

export const acceptedValues = (condition: Condition): readonly Choice[] =>
  'in' in condition ? condition.in : [condition.equals];

/** True when the configuration is one of the space: exactly the active parameters, possible values, constraints hold. */
export function isConfigurationOf(space: SearchSpace, configuration: Configuration): boolean {
  const known = new Set(space.parameters.map(({ name }) => name));
  if (Object.keys(configuration).some((name) => !known.has(name))) return false;
  const fits = space.parameters.every((parameter) => {
    const value = valueIn(configuration, parameter.name);
    return isActive(parameter, configuration) ? value !== undefined && hasValue(parameter, value) : value === undefined;
  });
  return fits && constraintsHold(space, configuration);
}

/** True when no constraint whose parameters all have values is broken. */
export function constraintsHold(space: SearchSpace, configuration: Configuration): boolean {
  return (space.constraints ?? []).every((constraint) => constraintHolds(constraint, configuration) !== false);
}

/**
 * The parameters so that each comes after the one its condition names, otherwise in the order of the space; null when conditions
 * form a cycle or name a parameter that does not exist.
 */
export function dependencyOrder(space: SearchSpace): readonly Parameter[] | null {
  const ordered: Parameter[] = [];
  const placed = new Set<string>();
  let waiting: readonly Parameter[] = space.parameters;
  while (waiting.length > 0) {
    const next = waiting.find(({ when }) => when === undefined || placed.has(when.parameter));
    if (next === undefined) return null;
    ordered.push(next);
    placed.add(next.name);
    waiting = waiting.filter((parameter) => parameter !== next);
  }
  return ordered;
}

/** `dependencyOrder` of a space that was checked. */
export function checkedOrder(space: SearchSpace): readonly Parameter[] {
  const order = dependencyOrder(space);
  invariant(order !== null, 'the search space was not checked: its conditions have no order');
  return order;
}

/** The same values in the order of the space. */
export function inSpaceOrder(space: SearchSpace, values: ReadonlyMap<string, Choice>): Configuration {
  return Object.fromEntries(
    space.parameters.flatMap(({ name }) => {
      const value = values.get(name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
