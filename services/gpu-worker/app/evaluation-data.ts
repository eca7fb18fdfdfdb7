import { createHash } from 'node:crypto';
import type { ActivityInput } from '#lib/contracts/activities.ts';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import { EVALUATION_TOKENS_VERSION } from '#lib/datasets/evaluation-tokens.ts';
import { writeEvaluationTokensInThread } from '#lib/datasets/write-evaluation-tokens-in-thread.ts';
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

/**
 * All of the dataset as tokens of the subject's tokenizer, stored under the digest of both: another evaluation of the project with the same
 * wish finds it ready.
 */
export async function evaluationData(
  platform: GpuPlatform,
  { input: { subject, dataset }, project, jobId, activityId, epoch, signal }: Context,
  tokenizer: string,
): Promise<StoredFolder> {
  const wish = { version: EVALUATION_TOKENS_VERSION, dataset: dataset.sha256, format: dataset.format, tokenizer };
  return derivedFolder(platform, {
    prefix: `evaluation-data/${project}/${createHash('sha256').update(canonicalJson(wish)).digest('hex')}`,
    createdBy: { jobId, activity: activityId, epoch },
    signal,
    make: async (outDir) => {
      const path = await fetchDataset(platform, dataset, signal);
      const tokenizerJson = (await fileOf(platform, subject.weights, 'tokenizer.json')).toString('utf8');
      const { format, sha256: sourceDigest } = dataset;
      await writeEvaluationTokensInThread({ path, format, sourceDigest, outDir, tokenizerJson }, { signal });
    },
  });
}

/** The tokenized pairs to score. A dataset of pairs is tokenized by `preprocess_preferences`, on the other lane. */
export function tokenizedPairs(preferences: Preferences): StoredFolder {
  if (!isDataset(preferences)) return preferences;
  throw new TrainyardError(
    'DatasetFormatUnfit',
    `pairs of ${preferences.name}/${preferences.version} must be tokenized before they are scored`,
  );
}

/** What identifies the pairs. */
export const preferencesDigest = (preferences: Preferences): string =>
  isDataset(preferences) ? preferences.sha256 : preferences.digest;

const isDataset = (preferences: Preferences): preferences is ResolvedDataset => 'sha256' in preferences;
