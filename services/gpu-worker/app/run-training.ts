import { relative, join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { pull, pullBase, WORKSPACE } from '#lib/worker/workspace.ts';
import { trainProgram } from './train-program.ts';
import type { GpuPlatform } from './trainer-run.ts';

type Context = ActivityContext<ActivityInput<'run_training'>>;

/** Step 8 of the flow: trains in the workspace; `upload_artifacts` stores the result. */
export async function runTraining(platform: GpuPlatform, context: Context): Promise<ActivityOutput<'run_training'>> {
  const { input, signal } = context;
  const folder = join(platform.workspaceDir, input.workspace);
  // The files may be on another node's disk: what is here and right stays.
  const dataDir = join(folder, WORKSPACE.data);
  await pull(platform, input.data, dataDir, signal);
  const { base } = await pullBase(platform, input.base, folder, signal);
  const { hyperparameters, seed, lora } = input.spec;
  const trained = await trainProgram(platform, context, { folder, prefix: '' }, (attempt) => ({
    protocol: 'trainyard-trainer/1',
    method: 'sft',
    technique: input.technique,
    base,
    dataDir,
    ...attempt,
    seed,
    hyperparameters,
    ...(lora === undefined ? {} : { lora }),
  }));
  return {
    outputFolder: relative(platform.workspaceDir, trained.outputDir),
    steps: trained.result.steps,
    metrics: trained.result.metrics,
    resumedFromStep: trained.resumedFromStep,
    damagedCheckpoints: trained.damagedCheckpoints,
  };
}
