import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { PreferenceDataset } from '#lib/contracts/preference-dataset.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { StoredFolder } from '#lib/worker/workspace.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import type { PreprocessProgress } from '../data/preprocess-dataset-file.ts';
import type { PreprocessPreferenceFile } from '../data/preprocess-preference-file.ts';
import { runInThread } from '#lib/datasets/run-in-thread.ts';
import { storedAt, storeOnce } from '#lib/worker/derived-folder.ts';
import { fileOf } from '#lib/worker/stored-file.ts';
import { fetchDataset } from '#lib/worker/dataset-file.ts';
import { requirePreferences, withDefaults } from './validate-preference-data.ts';

type Context = ActivityContext<ActivityInput<'preprocess_preferences'>>;

/** Goes into the key of the result: raise it when the same input gives other bytes, so that old results are not taken for new ones. */
const PREPROCESSING_VERSION = 1;

const THREAD = new URL('../data/preference-thread.ts', import.meta.url);

/**
 * Pairs and prompts as token ids of the base's tokenizer. The result is a function of preferences, configuration and tokenizer, so it is stored
 * under their digest: a retry, or another job of the project with the same wish, finds it ready.
 */
export async function preprocessPreferences(
  platform: WorkerPlatform,
  context: Context,
): Promise<ActivityOutput<'preprocess_preferences'>> {
  const { preferences, base } = context.input;
  requirePreferences(preferences.format);
  const config = withDefaults(context.input.config);
  const tokenizer = (await fileOf(platform, base.weights, 'tokenizer.json')).toString('utf8');
  const wish = {
    kind: 'preferences',
    version: PREPROCESSING_VERSION,
    preferences: preferences.sha256,
    config,
    tokenizer: sha256(tokenizer),
  };
  const prefix = `preprocessed/${context.project}/${sha256(canonicalJson(wish))}`;
  const pairs = await storedAt(platform, `${prefix}/pairs`);
  const prompts = await storedAt(platform, `${prefix}/prompts`);
  if (pairs !== null && prompts !== null) return describe(platform, pairs, prompts);
  return preprocess(platform, context, { config, baseTokenizerJson: tokenizer }, prefix);
}

async function preprocess(
  platform: WorkerPlatform,
  context: Context,
  wish: Pick<PreprocessPreferenceFile, 'config' | 'baseTokenizerJson'>,
  prefix: string,
): Promise<ActivityOutput<'preprocess_preferences'>> {
  const { preferences } = context.input;
  const path = await fetchDataset(platform, preferences, context.signal);
  const outDir = await mkdtemp(join(platform.workspaceDir, 'preprocess-'));
  try {
    const args = { ...wish, path, sourceDigest: preferences.sha256, outDir };
    const { jobId, epoch, signal } = context;
    const createdBy = { jobId, activity: 'preprocess_preferences', epoch };
    let steps = 0;
    await runInThread<unknown, PreprocessProgress>(THREAD, args, 'preprocessing', {
      signal,
      onProgress: () => context.progress({ step: ++steps, stepsTotal: 0 }),
    });
    const store = (name: string): Promise<StoredFolder> =>
      storeOnce(platform, join(outDir, name), { prefix: `${prefix}/${name}`, createdBy, signal });
    return await describe(platform, await store('pairs'), await store('prompts'));
  } finally {
    await rm(outDir, { recursive: true, force: true });
  }
}

async function describe(
  platform: WorkerPlatform,
  pairs: StoredFolder,
  prompts: StoredFolder,
): Promise<ActivityOutput<'preprocess_preferences'>> {
  const json = (await fileOf(platform, pairs, 'dataset.json')).toString('utf8');
  const { splits, tokenizer } = Value.Parse(PreferenceDataset, JSON.parse(json));
  return {
    pairs,
    prompts,
    trainPairs: splits.train.rows,
    validationPairs: splits.validation.rows,
    vocabularySize: tokenizer.vocabularySize,
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
