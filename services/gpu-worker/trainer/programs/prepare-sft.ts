import { createHash } from 'node:crypto';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import type { SftSpec } from '#lib/contracts/trainer-protocol.ts';
import { loadTokenData, type TokenData } from '../data/token-dataset.ts';
import { checkEstimate } from '../memory.ts';
import { baseConfig, loadBase, weightsDigest } from '../model/load-base.ts';
import { initialAdapter } from '../model/lora.ts';
import { type Model, quantiseModel } from '../model/weights.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { checkSequenceLength, loraOf } from '../spec.ts';

export interface PreparedSft {
  readonly data: TokenData;
  readonly model: Model;
  /** Equal digests = the same run: what checkpoints are checked against. Paths and reporting intervals do not count. */
  readonly configDigest: string;
}

/** Weights, gradients and two moments; frozen bases need less, so this is a bound for `full` only. */
const COPIES_FULL = 4;
const COPIES_FROZEN = 1;

/** Loads data and base, checks that they fit each other and the machine, and builds the model that `technique` trains. */
export async function prepareSft(spec: SftSpec): Promise<PreparedSft> {
  const data = await loadTokenData(spec.dataDir);
  const config = await baseConfig(spec.base, data.description.tokenizer);
  const { batchSize, sequenceLength, initStd } = spec.hyperparameters;
  checkSequenceLength(sequenceLength, config.contextLength);
  const copies = spec.technique === 'full' ? COPIES_FULL : COPIES_FROZEN;
  checkEstimate(config, { batch: batchSize, length: sequenceLength, copies }, spec.limits.maxMemoryMib);
  const base = await loadBase(spec.base, config, { std: initStd, seed: derivedSeed(spec.seed, PURPOSE.weights) });
  return { data, model: withTechnique(spec, base), configDigest: digestOf(spec, data, weightsDigest(base)) };
}

function withTechnique(spec: SftSpec, base: Model): Model {
  if (spec.technique === 'full') return base;
  const adapter = initialAdapter(base.config, loraOf(spec), derivedSeed(spec.seed, PURPOSE.adapter));
  const frozen = spec.technique === 'qlora' ? quantiseModel(base) : base;
  return { ...frozen, adapter };
}

function digestOf(spec: SftSpec, data: TokenData, baseDigest: string): string {
  const { checkpointEverySteps: _a, evaluateEverySteps: _b, validationTokens: _c, ...decisive } = spec.hyperparameters;
  const { sourceDigest, configDigest, tokenizer, splits } = data.description;
  const identity = {
    technique: spec.technique,
    lora: spec.technique === 'full' ? null : { ...loraOf(spec) },
    hyperparameters: decisive,
    seed: spec.seed,
    base: baseDigest,
    data: { sourceDigest, configDigest, tokenizer: tokenizer.sha256, train: splits.train.shards.map((s) => s.sha256) },
  };
  return createHash('sha256').update(canonicalJson(identity)).digest('hex');
}
