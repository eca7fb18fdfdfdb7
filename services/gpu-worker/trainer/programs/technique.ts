import type { SftSpec, Technique } from '#lib/contracts/trainer-protocol.ts';
import { initialAdapter } from '../model/lora.ts';
import { type Model, quantiseModel } from '../model/weights.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { loraOf } from '../spec.ts';

/** Arrays of the size of the parameters: weights, gradients and two moments; frozen bases need less, so `full` is the bound. */
export const COPIES: Readonly<Record<Technique, number>> = { full: 4, lora: 1, qlora: 1 };

/** The model that a technique trains: the base itself, or a fresh adapter on the frozen (for `qlora` quantised) base. */
export function withTechnique(spec: Pick<SftSpec, 'technique' | 'lora' | 'seed'>, base: Model): Model {
  if (spec.technique === 'full') return base;
  const adapter = initialAdapter(base.config, loraOf(spec), derivedSeed(spec.seed, PURPOSE.adapter));
  const frozen = spec.technique === 'qlora' ? quantiseModel(base) : base;
  return { ...frozen, adapter };
}
