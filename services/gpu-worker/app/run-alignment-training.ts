import { join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { jobFolder, pull, pullModel } from '#lib/worker/workspace.ts';
import { alignmentSettings, alignmentSpec } from '../domain/alignment-spec.ts';
import { storeTraining } from './store-training.ts';
import { trainProgram } from './train-program.ts';
import type { GpuPlatform } from './trainer-run.ts';

type Context = ActivityContext<ActivityInput<'run_alignment_training'>>;

/**
 * Aligns the base to preferences: `dpo` on pairs, `ppo` on prompts against a stored reward model. The result is a model folder, or for `lora`
 * and `qlora` an adapter on the base; it is stored by this activity. Resumes at any step, `ppo` in the middle of a round as well.
 */
export async function runAlignmentTraining(
  platform: GpuPlatform,
  context: Context,
): Promise<ActivityOutput<'run_alignment_training'>> {
  const { input, signal, activityId } = context;
  const accepted = alignmentSettings(input);
  if (!accepted.ok) throw new TrainyardError('TrainerBadConfig', accepted.reason);
  const folder = join(platform.workspaceDir, jobFolder(input.jobId));
  const [data, dataDir] =
    accepted.algorithm === 'dpo' ? [input.pairs, join(folder, 'pairs')] : [input.prompts, join(folder, 'prompts')];
  await pull(platform, data, dataDir, signal);
  const { base } = await pullModel(platform, input.base, folder, signal);
  const rewardModelDir = join(folder, 'reward-model');
  if (input.rewardModel !== undefined) await pull(platform, input.rewardModel, rewardModelDir, signal);
  const trained = await trainProgram(platform, context, { folder, prefix: `${activityId}-` }, (attempt) =>
    alignmentSpec(input, accepted, { base, dataDir, rewardModelDir, ...attempt }),
  );
  return storeTraining(platform, context, trained, `run-${input.jobId}`);
}
