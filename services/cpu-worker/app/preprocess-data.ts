import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { StoredFolder } from '#lib/worker/workspace.ts';
import { fetchDataset } from '#lib/worker/dataset-file.ts';
import { derivedFolder } from '#lib/worker/derived-folder.ts';
import { fileOf } from '#lib/worker/stored-file.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { runPreprocessInThread } from '../data/run-preprocess-in-thread.ts';

type Context = ActivityContext<ActivityInput<'preprocess_data'>>;

/** Goes into the key of the result: raise it when the same input gives other bytes, so that old results are not taken for new ones. */
const PREPROCESSING_VERSION = 1;

/** Documents by fate, kept beside the shards: a job that finds the result ready shows the same figures. */
const COUNTS_FILE = 'preprocessing.json';

/**
 * Step 6 of the flow. The result is a function of dataset, configuration and tokenizer, so it is stored under their digest: a retry, or
 * another job of the project with the same wish, finds it ready.
 */
export async function preprocessData(
  platform: WorkerPlatform,
  context: Context,
): Promise<ActivityOutput<'preprocess_data'>> {
  const { dataset, base } = context.input;
  const config = Value.Default(PreprocessConfig, {
    ...context.input.config,
  }) as ActivityInput<'preprocess_data'>['config'];
  const tokenizer = base === undefined ? undefined : await tokenizerOf(platform, base.weights);
  const wish = {
    version: PREPROCESSING_VERSION,
    dataset: dataset.sha256,
    format: dataset.format,
    config,
    tokenizer: tokenizer === undefined ? null : sha256(tokenizer),
  };
  const prefix = `preprocessed/${context.project}/${sha256(canonicalJson(wish))}`;
  const { jobId, epoch, signal } = context;
  const createdBy = { jobId, activity: 'preprocess_data', epoch };
  const make = (outDir: string): Promise<void> => preprocess(platform, context, { config, tokenizer, outDir });
  return describe(platform, await derivedFolder(platform, { prefix, createdBy, signal, make }));
}

async function preprocess(
  platform: WorkerPlatform,
  { input: { dataset }, signal, progress }: Context,
  wish: { config: ActivityInput<'preprocess_data'>['config']; tokenizer: string | undefined; outDir: string },
): Promise<void> {
  const path = await fetchDataset(platform, dataset, signal);
  let steps = 0;
  const { counts } = await runPreprocessInThread(
    {
      path,
      format: dataset.format,
      sourceDigest: dataset.sha256,
      outDir: wish.outDir,
      config: wish.config,
      baseTokenizerJson: wish.tokenizer,
    },
    { signal, onProgress: () => progress({ step: ++steps, stepsTotal: 0 }) },
  );
  await writeFile(join(wish.outDir, COUNTS_FILE), `${canonicalJson(counts)}\n`);
}

async function tokenizerOf(platform: WorkerPlatform, model: StoredFolder): Promise<string> {
  return (await fileOf(platform, model, 'tokenizer.json')).toString('utf8');
}

async function describe(platform: WorkerPlatform, data: StoredFolder): Promise<ActivityOutput<'preprocess_data'>> {
  const dataset = Value.Parse(
    TokenizedDataset,
    JSON.parse((await fileOf(platform, data, 'dataset.json')).toString('utf8')),
  );
  return {
    data,
    vocabularySize: dataset.tokenizer.vocabularySize,
    trainTokens: dataset.splits.train.tokens,
    validationTokens: dataset.splits.validation.tokens,
    documents: JSON.parse((await fileOf(platform, data, COUNTS_FILE)).toString('utf8')) as Record<string, number>,
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
