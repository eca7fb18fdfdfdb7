import { Value } from '#typebox/value';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { PreferenceConfig } from '#lib/contracts/rlhf-job.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { inspectPreferenceFile } from '../data/inspect-preference-file.ts';
import { fetchDataset } from '#lib/worker/dataset-file.ts';

/** Before a GPU is asked for: every row is a pair that can be learnt from, both splits hold some, and share no prompt. */
export async function validatePreferenceData(
  platform: WorkerPlatform,
  { input: { preferences, config }, signal, progress }: ActivityContext<ActivityInput<'validate_preference_data'>>,
): Promise<ActivityOutput<'validate_preference_data'>> {
  requirePreferences(preferences.format);
  const path = await fetchDataset(platform, preferences, signal);
  const { pairs, prompts, trainPairs, validationPairs, warnings, sha256 } = await inspectPreferenceFile({
    path,
    sourceDigest: preferences.sha256,
    config: withDefaults(config),
    signal,
    onProgress: (done, total) => progress({ step: done, stepsTotal: total }),
  });
  const listed = warnings.map(({ kind, count, first }) => ({ kind, count, rows: first.map(({ row }) => row) }));
  return { pairs, prompts, trainPairs, validationPairs, warnings: listed, sha256 };
}

export const withDefaults = (config: PreferenceConfig): PreferenceConfig =>
  Value.Default(PreferenceConfig, { ...config }) as PreferenceConfig;

export function requirePreferences(format: string): void {
  if (format !== 'jsonl_preferences')
    throw new TrainyardError('DatasetFormatUnfit', `a dataset of format ${format} holds no pairs of preference`);
}
