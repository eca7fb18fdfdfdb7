import { join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { jobFolder, pull, pullModel } from '#lib/worker/workspace.ts';
import { rewardSpec } from '../domain/alignment-spec.ts';
import { storeTraining } from './store-training.ts';
import { trainProgram } from './train-program.ts';
import type { GpuPlatform } from './trainer-run.ts';

type Context = ActivityContext<ActivityInput<'train_reward_model'>>;

/** A Bradley-Terry reward model of the base, stored as a model folder with its head and the tokenizer of the pairs. Resumes at any step. */
export async function trainRewardModel(
  platform: GpuPlatform,
  context: Context,
): Promise<ActivityOutput<'train_reward_model'>> {
  const { input, signal, activityId } = context;
  const folder = join(platform.workspaceDir, jobFolder(input.jobId));
  const dataDir = join(folder, 'pairs');
  await pull(platform, input.pairs, dataDir, signal);
  const { base } = await pullModel(platform, input.base, folder, signal);
  const trained = await trainProgram(platform, context, { folder, prefix: `${activityId}-` }, (attempt) =>
    rewardSpec(input, { base, dataDir, ...attempt }),
  );
  return storeTraining(platform, context, trained, `run-${input.jobId}-reward`);
}
