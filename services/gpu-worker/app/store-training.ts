import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ActivityOutput } from '#lib/contracts/activities.ts';
import type { DpoSpec, PpoSpec, RewardSpec } from '#lib/contracts/trainer-protocol.ts';
import { TRAINING_RUN_FILES, type TrainingRun } from '#lib/contracts/training-run.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import type { TrainedProgram } from './train-program.ts';

type Spec = RewardSpec | DpoSpec | PpoSpec;

/**
 * Stores what a training wrote under `artifacts/<project>/<job>/<activity>-e<epoch>`, manifest last, with the run and its curve beside the
 * model: this lane has no model registry, and whoever registers the model finds there what to say about it. Same attempt, same result.
 */
export async function storeTraining(
  platform: WorkerPlatform,
  context: ActivityContext,
  { spec, outputDir, curvePath, result, resumedFromStep, damagedCheckpoints }: TrainedProgram<Spec>,
  runId: string,
): Promise<ActivityOutput<'run_alignment_training'>> {
  const { jobId, project, activityId: activity, epoch, signal } = context;
  const { steps, metrics } = result;
  const run: TrainingRun = {
    format: 'trainyard-run/1',
    runId,
    jobId,
    activity,
    epoch,
    method: spec.method,
    technique: spec.technique,
    steps,
    params: paramsOf(spec),
    metrics,
  };
  await writeFile(join(outputDir, TRAINING_RUN_FILES.run), `${JSON.stringify(run, null, 2)}\n`);
  await copyFile(curvePath, join(outputDir, TRAINING_RUN_FILES.curve));
  const { manifest, manifestKey, digest } = await uploadFolder(
    platform.store,
    outputDir,
    `artifacts/${project}/${jobId}/${activity}-e${epoch}`,
    {
      createdBy: { jobId, activity, epoch },
      signal,
      // Steps go on growing, or an upload that takes long would look like a training that stalls.
      onProgress: ({ files, totalFiles }) => context.progress({ step: steps + files, stepsTotal: steps + totalFiles }),
    },
  );
  return {
    artifacts: { manifestKey, digest },
    files: manifest.files.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
    runId,
    steps,
    metrics,
    resumedFromStep,
    damagedCheckpoints,
  };
}

/** Names as in the spec, those of the adapter with `lora.` before them. */
function paramsOf(spec: Spec): Record<string, string> {
  const { hyperparameters, lora = {}, method, technique, seed } = spec;
  const named = [
    ...Object.entries(hyperparameters),
    ...Object.entries(lora).map(([name, value]) => [`lora.${name}`, value] as const),
  ];
  return {
    method,
    technique,
    seed: String(seed),
    ...(spec.method === 'reward' ? { pooling: spec.pooling } : {}),
    ...Object.fromEntries(named.map(([name, value]) => [name, String(value)])),
  };
}
