import { createHash } from 'node:crypto';
import type { ActivityInput } from '#lib/contracts/activities.ts';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import { writeEvaluationSetInThread } from '#lib/datasets/evaluation-set.ts';
import { EVALUATION_TOKENS_VERSION } from '#lib/datasets/evaluation-tokens.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { fetchDataset } from '#lib/worker/dataset-file.ts';
import { derivedFolder } from '#lib/worker/derived-folder.ts';
import { fileOf } from '#lib/worker/stored-file.ts';
import type { StoredFolder } from '#lib/worker/workspace.ts';
import type { GpuPlatform } from './trainer-run.ts';

type Context = ActivityContext<ActivityInput<'evaluate_models'>>;
type Preferences = NonNullable<ActivityInput<'evaluate_models'>['preferences']>;

/** All of the text to score as tokens of the subject's tokenizer; `DatasetFormatUnfit` for pairs of preference. */
export async function textToScore(platform: GpuPlatform, context: Context, tokenizer: string): Promise<StoredFolder> {
  const { dataset } = context.input;
  if (dataset.format === 'jsonl_preferences')
    throw new TrainyardError(
      'DatasetFormatUnfit',
      `${dataset.name}/${dataset.version} holds pairs: give it as preferences`,
    );
  return evaluationSet(platform, context, dataset, tokenizer);
}

/** The pairs to score: a folder that is tokenized already, or all of a dataset. Null when there are none. */
export async function pairsToScore(
  platform: GpuPlatform,
  context: Context,
  tokenizer: string,
): Promise<StoredFolder | null> {
  const { preferences } = context.input;
  if (preferences === undefined) return null;
  if (!isDataset(preferences)) return preferences;
  if (preferences.format !== 'jsonl_preferences')
    throw new TrainyardError(
      'DatasetFormatUnfit',
      `${preferences.name}/${preferences.version} holds no pairs of preference`,
    );
  return evaluationSet(platform, context, preferences, tokenizer);
}

/** What identifies the pairs. */
export const preferencesDigest = (preferences: Preferences): string =>
  isDataset(preferences) ? preferences.sha256 : preferences.digest;

const isDataset = (preferences: Preferences): preferences is ResolvedDataset => 'sha256' in preferences;

/**
 * All of a dataset as token ids, stored under the digest of dataset and tokenizer: another evaluation of the project with the same wish finds it
 * ready.
 */
async function evaluationSet(
  platform: GpuPlatform,
  { input: { subject }, project, jobId, activityId, epoch, signal }: Context,
  dataset: ResolvedDataset,
  tokenizer: string,
): Promise<StoredFolder> {
  const { format, sha256: sourceDigest } = dataset;
  const wish = { version: EVALUATION_TOKENS_VERSION, dataset: sourceDigest, format, tokenizer };
  return derivedFolder(platform, {
    prefix: `evaluation-data/${project}/${createHash('sha256').update(canonicalJson(wish)).digest('hex')}`,
    createdBy: { jobId, activity: activityId, epoch },
    signal,
    make: async (outDir) => {
      const path = await fetchDataset(platform, dataset, signal);
      const tokenizerJson = (await fileOf(platform, subject.weights, 'tokenizer.json')).toString('utf8');
      await writeEvaluationSetInThread({ path, format, sourceDigest, outDir, tokenizerJson }, { signal });
    },
  });
}
