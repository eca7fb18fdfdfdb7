import { join } from 'node:path';
import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import type { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { required } from '../failure.ts';
import { HEAD, withHead } from '../model/head.ts';
import { baseConfig, loadBase } from '../model/load-base.ts';
import type { Model } from '../model/weights.ts';
import { writeDurably } from './durable-file.ts';
import { pretty, readJson, writeModelFolder } from './model-folder.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';

const RewardConfig = Type.Object({
  format: Type.Literal('trainyard-reward-model/1'),
  pooling: Type.Union([Type.Literal('mean'), Type.Literal('last')]),
});
type Pooling = Static<typeof RewardConfig>['pooling'];

export interface RewardModel {
  /** A model whose base holds the tensor `HEAD.reward` as well. */
  readonly model: Model;
  readonly pooling: Pooling;
}

const HEAD_FILE = 'reward_head.safetensors';
const CONFIG_FILE = 'reward_config.json';

/**
 * Writes a model folder with the head beside it: `score.weight` [1, d] as of transformers' GPT2ForSequenceClassification, applied to
 * the completion's tokens and pooled as the configuration says. `trunk` has no adapter. Returns the file names, sorted.
 */
export async function writeRewardFolder(
  dir: string,
  trunk: Model,
  head: Float32Array,
  pooling: Pooling,
  tokenizerJson: string,
): Promise<string[]> {
  const files = await writeModelFolder(dir, trunk.config, trunk.base, tokenizerJson);
  const tensor = { name: HEAD.reward, shape: [1, trunk.config.embeddingSize], data: head };
  await writeSafetensors(join(dir, HEAD_FILE), [tensor]);
  await writeDurably(join(dir, CONFIG_FILE), [pretty({ format: 'trainyard-reward-model/1', pooling })]);
  return [...files, HEAD_FILE, CONFIG_FILE].sort();
}

/** Reads what `writeRewardFolder` wrote; errors are those of a model folder. */
export async function readRewardFolder(dir: string, tokenizer: TokenizedDataset['tokenizer']): Promise<RewardModel> {
  const configPath = join(dir, CONFIG_FILE);
  const json = await readJson(configPath);
  if (!Value.Check(RewardConfig, json)) {
    const error = Value.Errors(RewardConfig, json)[0];
    const message = `${configPath}: ${error?.instancePath ?? ''} ${error?.message ?? ''}`;
    throw new TrainyardError('TrainerModelInvalid', message);
  }
  const base = { kind: 'model', dir } as const;
  const config = await baseConfig(base, tokenizer);
  const model = withHead(await loadBase(base, config, { std: 0, seed: 0 }), HEAD.reward);
  const path = join(dir, HEAD_FILE);
  const file = await required(path, () => openSafetensors(path));
  try {
    await file.readInto(HEAD.reward, [1, config.embeddingSize], model.base.view(HEAD.reward));
  } finally {
    await file.close();
  }
  return { model, pooling: json.pooling };
}
