import { createHash } from 'node:crypto';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import type { SftSpec } from '#lib/contracts/trainer-protocol.ts';
import { loadTokenData, type TokenData } from '../data/token-dataset.ts';
import { checkEstimate } from '../memory.ts';
import { baseConfig, loadBase, weightsDigest } from '../model/load-base.ts';
import type { Model } from '../model/weights.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { checkSequenceLength, loraOf } from '../spec.ts';
import { COPIES, withTechnique } from './technique.ts';

export interface PreparedSft {
  readonly data: TokenData;
  readonly model: Model;
  /** Equal digests = the same run: what checkpoints are checked against. Paths and reporting intervals do not count. */
  readonly configDigest: string;
}

/** Loads data and base, checks that they fit each other and the machine, and builds the model that `technique` trains. */
export async function prepareSft(spec: SftSpec): Promise<PreparedSft> {
  const data = await loadTokenData(spec.dataDir);
  const config = await baseConfig(spec.base, data.description.tokenizer);
  const { batchSize, sequenceLength, initStd } = spec.hyperparameters;
  checkSequenceLength(sequenceLength, config.contextLength);
  const size = { batch: batchSize, length: sequenceLength, copies: COPIES[spec.technique] };
  checkEstimate(config, size, spec.limits.maxMemoryMib);
  const base = await loadBase(spec.base, config, { std: initStd, seed: derivedSeed(spec.seed, PURPOSE.weights) });
  return { data, model: withTechnique(spec, base), configDigest: digestOf(spec, data, weightsDigest(base)) };
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
