import type { FieldError } from '../kernel/errors.ts';
import { mulberry32 } from '../kernel/random.ts';
import { checkParameter } from './check-parameter.ts';
import {
  acceptedValues,
  checkedOrder,
  constraintsHold,
  dependencyOrder,
  inSpaceOrder,
  isActive,
} from './configuration.ts';
import { isImpossible, mentionsOf } from './constraint.ts';
import { gridOf, MAX_GRID_POINTS } from './grid.ts';
import { drawValue, hasValue, valueCount } from './parameter-values.ts';
import type { SamplerSettings } from './sampler-settings.ts';
import type { Choice, Constraint, Parameter, SearchSpace } from './search-space.ts';

/** Draws that look for a configuration; a space where fewer than one in a thousand fits is better written with other ranges. */
const PROBES = 2_000;
const PROBE_SEED = 1;

/**
 * What the schema cannot say: every contradiction of a space, each at its JSON pointer from the space on. Empty = the samplers can
 * work with it. `sampler` adds what only a grid needs. Never throws for a value of the schema.
 */
export function checkSearchSpace(space: SearchSpace, sampler: SamplerSettings['type']): FieldError[] {
  if (space.parameters.length === 0) return [{ pointer: '/parameters', message: 'must name at least one parameter' }];
  const errors = [
    ...checkNames(space),
    ...space.parameters.flatMap((parameter, i) => at(`/parameters/${i}`, checkParameter(parameter, sampler))),
    ...space.parameters.flatMap((parameter, i) => at(`/parameters/${i}/when`, checkCondition(parameter, space))),
    ...checkCycles(space),
    ...(space.constraints ?? []).flatMap((constraint, c) =>
      at(`/constraints/${c}`, checkConstraint(constraint, space)),
    ),
  ];
  // The whole is only looked at when each part makes sense.
  if (errors.length > 0) return errors;
  return sampler === 'grid' ? checkGrid(space) : checkSatisfiable(space);
}

const at = (pointer: string, errors: readonly FieldError[]): FieldError[] =>
  errors.map((error) => ({ pointer: `${pointer}${error.pointer}`, message: error.message }));

function checkNames(space: SearchSpace): FieldError[] {
  const seen = new Set<string>();
  return space.parameters.flatMap(({ name }, i) => {
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    return [{ pointer: `/parameters/${i}/name`, message: `names ${name} a second time` }];
  });
}

function checkCondition(parameter: Parameter, space: SearchSpace): FieldError[] {
  const condition = parameter.when;
  if (condition === undefined) return [];
  const parent = space.parameters.find(({ name }) => name === condition.parameter);
  if (parent === undefined) return [{ pointer: '/parameter', message: `there is no parameter ${condition.parameter}` }];
  if (valueCount(parent) === Infinity)
    return [
      {
        pointer: '/parameter',
        message: `${parent.name} is continuous: a condition needs a parameter with steps or choices`,
      },
    ];
  return acceptedValues(condition).flatMap((value, i, values) => {
    const pointer = 'in' in condition ? `/in/${i}` : '/equals';
    if (!hasValue(parent, value)) return [{ pointer, message: `${parent.name} never is ${JSON.stringify(value)}` }];
    return values.indexOf(value) < i ? [{ pointer, message: `names ${JSON.stringify(value)} a second time` }] : [];
  });
}

/** Every parameter whose condition leads back to itself. */
function checkCycles(space: SearchSpace): FieldError[] {
  if (dependencyOrder(space) !== null) return [];
  const parentOf = new Map(space.parameters.map(({ name, when }) => [name, when?.parameter]));
  return space.parameters.flatMap(({ name }, i) => {
    let ancestor = parentOf.get(name);
    for (let hops = 0; hops < space.parameters.length && ancestor !== undefined && ancestor !== name; hops++)
      ancestor = parentOf.get(ancestor);
    return ancestor === name ? [{ pointer: `/parameters/${i}/when`, message: 'depends on itself' }] : [];
  });
}

function checkConstraint(constraint: Constraint, space: SearchSpace): FieldError[] {
  const parameters = new Map(space.parameters.map((parameter) => [parameter.name, parameter]));
  const mentions = mentionsOf(constraint);
  if (mentions.length === 0) return [{ pointer: '', message: 'names no parameter' }];
  const errors = mentions.flatMap(({ name, pointer }) => {
    const parameter = parameters.get(name);
    if (parameter === undefined) return [{ pointer, message: `there is no parameter ${name}` }];
    if (parameter.type === 'categorical' && parameter.choices.some((choice) => typeof choice !== 'number'))
      return [{ pointer, message: `${name} has choices that are no numbers` }];
    if (constraint.operator === '==' && valueCount(parameter) === Infinity)
      return [{ pointer, message: `${name} is continuous: == would never hold` }];
    return [];
  });
  if (errors.length === 0 && isImpossible(constraint, parameters))
    return [{ pointer: '', message: 'holds for no values in the ranges of its parameters' }];
  return errors;
}

function checkGrid(space: SearchSpace): FieldError[] {
  const grid = gridOf(space);
  if (!grid.ok)
    return [
      {
        pointer: '/parameters',
        message: `the grid has more than ${MAX_GRID_POINTS} points, or constraints leave out too many`,
      },
    ];
  return grid.configurations.length > 0 ? [] : [UNSATISFIABLE];
}

const UNSATISFIABLE: FieldError = {
  pointer: '/constraints',
  message: 'no configuration was found that satisfies all of them',
};

function checkSatisfiable(space: SearchSpace): FieldError[] {
  if ((space.constraints ?? []).length === 0) return [];
  const order = checkedOrder(space);
  const random = mulberry32(PROBE_SEED);
  for (let probe = 0; probe < PROBES; probe++) {
    const values = new Map<string, Choice>();
    for (const parameter of order)
      if (isActive(parameter, Object.fromEntries(values))) values.set(parameter.name, drawValue(parameter, random));
    if (constraintsHold(space, inSpaceOrder(space, values))) return [];
  }
  return [UNSATISFIABLE];
}
