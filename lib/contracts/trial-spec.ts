import { Value } from '#typebox/value';
import type { TSchema } from '#typebox';
import type { Configuration } from '#lib/search-space/configuration.ts';
import { type FineTuneSpec, FineTuneSpec as Schema } from './jobs.ts';
import { LoraConfig, TrainingHyperparameters } from './trainer-protocol.ts';

const LORA_PREFIX = 'lora.';

/**
 * The schema of what a search may tune under this name: a member of `hyperparameters` (`learningRate`), of `lora` (`lora.r`), or `method`,
 * `seed`. Null for any other name, and for what is no single value (`lora.targetModules`).
 */
export function tunableSchema(name: string): TSchema | null {
  if (name === 'method' || name === 'seed') return Schema.properties[name];
  const lora = name.startsWith(LORA_PREFIX);
  const members: Readonly<Record<string, TSchema>> = lora ? LoraConfig.properties : TrainingHyperparameters.properties;
  const member = lora ? name.slice(LORA_PREFIX.length) : name;
  const schema = Object.hasOwn(members, member) ? members[member] : undefined;
  return schema === undefined || (schema as { type?: string }).type === 'array' ? null : schema;
}

/**
 * The fine-tuning that a trial runs: `trial` with the values of its configuration. Without an adapter (`full`) it has no `lora`; an adapter
 * whose settings nobody names has the defaults. Every name is one of `tunableSchema`.
 */
export function trialSpec(trial: FineTuneSpec, configuration: Configuration): FineTuneSpec {
  const top: Record<string, unknown> = {};
  const hyperparameters: Record<string, unknown> = { ...trial.hyperparameters };
  const lora: Record<string, unknown> = { ...(trial.lora ?? (Value.Default(LoraConfig, {}) as object)) };
  for (const [name, value] of Object.entries(configuration)) {
    if (name === 'method' || name === 'seed') top[name] = value;
    else if (name.startsWith(LORA_PREFIX)) lora[name.slice(LORA_PREFIX.length)] = value;
    else hyperparameters[name] = value;
  }
  const { lora: _former, ...rest } = trial;
  const method = top['method'] ?? trial.method;
  return { ...rest, ...top, hyperparameters, ...(method === 'full' ? {} : { lora }) } as FineTuneSpec;
}
