import { TrainyardError } from '#lib/kernel/errors.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import type { LoraConfig } from '#lib/contracts/trainer-protocol.ts';
import { type Gpt2Config, linearModules } from './gpt2.ts';
import { TensorSet } from './tensor-set.ts';

/** Low-rank updates `x @ aᵀ @ bᵀ * alpha / r` of some linear layers; tensors lie as PEFT stores them: a [r, in], b [out, r]. */
export interface Adapter {
  readonly config: LoraConfig;
  readonly tensors: TensorSet;
}

export const loraA = (module: string): string => `base_model.model.${module}.lora_A.weight`;
export const loraB = (module: string): string => `base_model.model.${module}.lora_B.weight`;

/** PEFT selects a layer when its last name is a target: `c_proj` means both the attention's and the MLP's. */
export function adaptedModules(config: Gpt2Config, lora: LoraConfig): ReturnType<typeof linearModules> {
  const targets = new Set<string>(lora.targetModules);
  return linearModules(config).filter(({ module }) => targets.has(module.slice(module.lastIndexOf('.') + 1)));
}

/** An adapter of zeros; throws `LoraRankTooLarge` when r exceeds the narrower side of a target layer. */
export function emptyAdapter(config: Gpt2Config, lora: LoraConfig): Adapter {
  const modules = adaptedModules(config, lora);
  for (const { module, inputs, outputs } of modules) {
    const limit = Math.min(inputs, outputs);
    if (lora.r <= limit) continue;
    const message = `lora.r = ${lora.r} is larger than ${limit}, the narrower side of ${module} [${inputs}, ${outputs}]`;
    throw new TrainyardError('LoraRankTooLarge', message, { fields: [{ pointer: '/lora/r', message }] });
  }
  const tensors = new TensorSet(
    modules.flatMap(({ module, inputs, outputs }) => [
      { name: loraA(module), shape: [lora.r, inputs] },
      { name: loraB(module), shape: [outputs, lora.r] },
    ]),
  );
  return { config: lora, tensors };
}

/** PEFT's start: a uniform within 1/sqrt(in), b zero, so that the first forward pass equals the base's. */
export function initialAdapter(config: Gpt2Config, lora: LoraConfig, seed: number): Adapter {
  const random = mulberry32(seed);
  const adapter = emptyAdapter(config, lora);
  for (const { module, inputs } of adaptedModules(config, lora)) {
    const a = adapter.tensors.view(loraA(module));
    const bound = 1 / Math.sqrt(inputs);
    for (let index = 0; index < a.length; index += 1) a[index] = (random.next() * 2 - 1) * bound;
  }
  return adapter;
}

export const loraScale = (lora: LoraConfig): number => lora.alpha / lora.r;

/** Adds the adapter's update to the base weights in place: W[i, o] += alpha / r * sum over k of a[k, i] b[o, k]. */
export function mergeAdapter(config: Gpt2Config, base: TensorSet, adapter: Adapter): void {
  const { r } = adapter.config;
  const factor = loraScale(adapter.config);
  for (const { module, inputs, outputs } of adaptedModules(config, adapter.config)) {
    const weight = base.view(`${module}.weight`);
    const a = adapter.tensors.view(loraA(module));
    const b = adapter.tensors.view(loraB(module));
    for (let input = 0; input < inputs; input += 1) {
      for (let output = 0; output < outputs; output += 1) {
        let sum = 0;
        for (let k = 0; k < r; k += 1) sum += (a[k * inputs + input] ?? 0) * (b[output * r + k] ?? 0);
        const at = input * outputs + output;
        weight[at] = (weight[at] ?? 0) + factor * sum;
      }
    }
  }
}
