import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { TrainerBase } from '#lib/contracts/trainer-protocol.ts';
import type { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { required } from '../failure.ts';
import { sha256OfFile } from '../formats/durable-file.ts';
import { builtInConfig, readModelConfig, readModelWeights } from '../formats/model-folder.ts';
import { readAdapter } from '../formats/peft-adapter.ts';
import { type Gpt2Config, initialWeights } from './gpt2.ts';
import { mergeAdapter } from './lora.ts';
import type { Model } from './weights.ts';

/**
 * The shape of a base, known before any weight is read. A model folder must have the tokenizer of the data
 * (`TrainerTokenizerMismatch`): ids of another vocabulary would train, and mean nothing.
 */
export async function baseConfig(base: TrainerBase, tokenizer: TokenizedDataset['tokenizer']): Promise<Gpt2Config> {
  const { vocabularySize, endOfTextId } = tokenizer;
  if (base.kind === 'config') return builtInConfig({ ...base.config, vocabularySize, endOfTextId });
  const config = await readModelConfig(base.dir);
  const path = join(base.dir, 'tokenizer.json');
  const digest = await required(path, () => sha256OfFile(path));
  if (digest !== tokenizer.sha256) {
    throw new TrainyardError('TrainerTokenizerMismatch', `${path} is not the tokenizer the data were made with`);
  }
  if (config.vocabularySize !== vocabularySize) {
    const message = `the model has ${config.vocabularySize} token embeddings, the tokenizer ${vocabularySize} tokens`;
    throw new TrainyardError('TrainerTokenizerMismatch', message);
  }
  return config;
}

/** The weights of a base in 32 bits, with its adapter, if any, merged in. */
export async function loadBase(
  base: TrainerBase,
  config: Gpt2Config,
  init: { std: number; seed: number },
): Promise<Model> {
  if (base.kind === 'config') return { config, base: initialWeights(config, init.std, init.seed) };
  const weights = await readModelWeights(base.dir, config);
  if (base.adapterDir !== undefined) mergeAdapter(config, weights, await readAdapter(base.adapterDir, config));
  return { config, base: weights };
}

/** SHA-256 over the bytes of the weights: equal digests are equal models. */
export const weightsDigest = (model: Model): string => {
  const { data } = model.base;
  return createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
};
