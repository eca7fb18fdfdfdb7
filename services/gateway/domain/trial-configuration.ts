import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import { dependencyOrder, inSpaceOrder, isActive, type Configuration } from '#lib/search-space/configuration.ts';
import type { Choice, SearchSpace } from '#lib/search-space/search-space.ts';

/** The configuration of a trial, read back from the spec that it ran: the values of the active parameters, in the order of the space. */
export function configurationOf(space: SearchSpace, spec: FineTuneSpec): Configuration {
  const values = new Map<string, Choice>();
  for (const parameter of dependencyOrder(space) ?? []) {
    const value = isActive(parameter, Object.fromEntries(values)) ? valueIn(spec, parameter.name) : undefined;
    if (value !== undefined) values.set(parameter.name, value);
  }
  return inSpaceOrder(space, values);
}

function valueIn(spec: FineTuneSpec, name: string): Choice | undefined {
  if (name === 'method' || name === 'seed') return spec[name];
  const [group, member] = name.startsWith('lora.')
    ? [spec.lora, name.slice('lora.'.length)]
    : [spec.hyperparameters, name];
  const members = (group ?? {}) as Readonly<Record<string, Choice>>;
  return Object.hasOwn(members, member) ? members[member] : undefined;
}
