import { Value } from 'typebox/value';
import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import { LoraConfig } from '#lib/contracts/trainer-protocol.ts';
import type { Configuration } from '#lib/search-space/configuration.ts';

const LORA = 'lora.';

/**
 * The fine-tuning of a trial: each parameter replaces the member it names, `method` and `seed` of the spec, `lora.<member>` of `lora`, any other of
 * `hyperparameters`. `lora` gets its defaults when the method needs it and goes when it does not.
 */
export function applyConfiguration(spec: FineTuneSpec, configuration: Configuration): FineTuneSpec {
  const top: Record<string, unknown> = {};
  const hyperparameters: Record<string, unknown> = { ...spec.hyperparameters };
  const lora: Record<string, unknown> = { ...spec.lora };
  for (const [name, value] of Object.entries(configuration)) {
    if (name === 'method' || name === 'seed') top[name] = value;
    else if (name.startsWith(LORA)) lora[name.slice(LORA.length)] = value;
    else hyperparameters[name] = value;
  }
  const { lora: _lora, ...rest } = { ...spec, ...top, hyperparameters } as FineTuneSpec;
  return rest.method === 'full' ? rest : { ...rest, lora: Value.Default(LoraConfig, lora) as LoraConfig };
}
