import { checkedOrder, type Configuration, constraintsHold, inSpaceOrder, isActive } from './configuration.ts';
import { valueAt, valueCount } from './parameter-values.ts';
import type { Choice, Parameter, SearchSpace } from './search-space.ts';

/** Points of a grid. More than a sweep can ever run, few enough to enumerate in a request (about 20 ms). */
export const MAX_GRID_POINTS = 10_000;
/** Points looked at while constraints leave some out: a bound on the time of one enumeration. */
const MAX_GRID_VISITS = 100_000;

export type Grid =
  | { readonly ok: true; readonly configurations: readonly Configuration[] }
  | { readonly ok: false; readonly reason: 'TooLarge' | 'Continuous' };

/**
 * Every configuration of the space once, in the order of an odometer: parameters as in `dependencyOrder`, values ascending (choices
 * in their own order), the last parameter turns fastest. An inactive parameter does not multiply points. The space was checked.
 */
export function gridOf(space: SearchSpace): Grid {
  const order = checkedOrder(space);
  if (order.some((parameter) => valueCount(parameter) === Infinity)) return { ok: false, reason: 'Continuous' };
  const configurations: Configuration[] = [];
  let visits = 0;
  for (const values of points(order)) {
    if (++visits > MAX_GRID_VISITS) return { ok: false, reason: 'TooLarge' };
    const configuration = inSpaceOrder(space, values);
    if (!constraintsHold(space, configuration)) continue;
    configurations.push(configuration);
    if (configurations.length > MAX_GRID_POINTS) return { ok: false, reason: 'TooLarge' };
  }
  return { ok: true, configurations };
}

/** The map is the walk's own: read it before the next step. */
function* points(
  order: readonly Parameter[],
  at = 0,
  values = new Map<string, Choice>(),
): Generator<ReadonlyMap<string, Choice>> {
  const parameter = order[at];
  if (parameter === undefined) {
    yield values;
    return;
  }
  if (!isActive(parameter, Object.fromEntries(values))) {
    yield* points(order, at + 1, values);
    return;
  }
  const count = valueCount(parameter);
  for (let i = 0; i < count; i++) {
    values.set(parameter.name, valueAt(parameter, i));
    yield* points(order, at + 1, values);
  }
  values.delete(parameter.name);
}
