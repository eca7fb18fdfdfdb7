import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { SftSpec, TrainerMessage } from '#lib/contracts/trainer-protocol.ts';
import { downloadFolder } from '#lib/object-store/manifest.ts';
import { findNewestValidCheckpoint } from '#lib/object-store/checkpoint-store.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { pull, pullBase, WORKSPACE } from '#lib/worker/workspace.ts';
import { CheckpointUploads } from './checkpoint-uploads.ts';
import { type GpuPlatform, runTrainer } from './trainer-run.ts';
import { TrainingCurve } from './training-curve.ts';

type Context = ActivityContext<ActivityInput<'run_training'>>;

interface Resumed {
  /** Local folder and step of the checkpoint to go on from; null = from the start. */
  readonly from: { readonly dir: string; readonly step: number } | null;
  readonly damaged: readonly string[];
}

/**
 * Step 8 of the flow: trains in a child process, from the newest valid checkpoint if there is one. Everything the attempt writes carries its
 * epoch: an attempt that lost its lease without knowing can neither overwrite nor publish.
 */
export async function runTraining(platform: GpuPlatform, context: Context): Promise<ActivityOutput<'run_training'>> {
  const { input, epoch, signal } = context;
  const folder = join(platform.workspaceDir, input.workspace);
  // 1. The files may be on another node's disk: what is here and right stays.
  const dataDir = join(folder, WORKSPACE.data);
  await pull(platform, input.data, dataDir, signal);
  const { base } = await pullBase(platform, input.base, folder, signal);
  // 2. Where to go on.
  const resumed = await newestCheckpoint(platform, context, folder);
  const outputFolder = join(input.workspace, WORKSPACE.output(epoch));
  const checkpointDir = join(folder, `checkpoints-e${epoch}`);
  await mkdir(checkpointDir, { recursive: true });
  const { hyperparameters, seed, lora } = input.spec;
  const spec: SftSpec = {
    protocol: 'trainyard-trainer/1',
    method: 'sft',
    technique: input.technique,
    base,
    dataDir,
    outputDir: join(platform.workspaceDir, outputFolder),
    checkpointDir,
    ...(resumed.from === null ? {} : { resumeFrom: resumed.from.dir }),
    seed,
    hyperparameters,
    ...(lora === undefined ? {} : { lora }),
    limits: platform.limits,
  };
  // 3. Train; checkpoints are stored meanwhile.
  const curve = new TrainingCurve(context, join(folder, WORKSPACE.metrics(epoch)));
  if (resumed.from !== null) await curve.resume(resumed.from.dir);
  const uploads = new CheckpointUploads(platform, context, curve);
  let lastCheckpoint: number | null = null;
  const onMessage = (message: TrainerMessage): void => {
    if (message.type === 'metric' && Number.isFinite(message.value)) {
      const { name, step, value } = message;
      curve.add({ name, step, value });
    }
    if (message.type !== 'checkpoint') return;
    lastCheckpoint = message.step;
    uploads.add({ step: message.step, dir: message.dir });
  };
  const beforeYield = async (): Promise<number | null> => {
    await uploads.settled();
    return lastCheckpoint;
  };
  try {
    const { result } = await runTrainer(platform, context, spec, folder, { onMessage, beforeYield });
    return {
      outputFolder,
      steps: result.steps,
      metrics: result.metrics,
      resumedFromStep: resumed.from?.step ?? null,
      damagedCheckpoints: [...resumed.damaged],
    };
  } finally {
    await uploads.settled();
    await curve.close();
    await rm(checkpointDir, { recursive: true, force: true });
  }
}

/** A first attempt has nothing to resume and does not ask the store. Damaged checkpoints are said, not hidden. */
async function newestCheckpoint(platform: GpuPlatform, context: Context, folder: string): Promise<Resumed> {
  const { jobId, activityId, epoch, signal } = context;
  if (epoch === 1) return { from: null, damaged: [] };
  const damaged: string[] = [];
  const owner = { jobId, activity: activityId };
  const found = await findNewestValidCheckpoint(platform.store, owner, ({ step, epoch: of, reason }) => {
    damaged.push(`step ${step} (epoch ${of}): ${reason}`);
    platform.log.warn({ jobId, step, epoch: of, reason }, 'checkpoint cannot be used, trying the one before');
  });
  const known = context.resume?.step ?? 0;
  if ((found?.step ?? 0) < known)
    platform.log.warn({ jobId, known, found: found?.step ?? null }, 'an older checkpoint than the log knows must do');
  if (found === null) return { from: null, damaged };
  const dir = join(folder, `resume-e${epoch}`);
  await downloadFolder(platform.store, found.manifestKey, dir, { signal, marginBytes: platform.workspaceMarginBytes });
  platform.log.info({ jobId, epoch, step: found.step }, 'resuming from checkpoint');
  return { from: { dir, step: found.step }, damaged };
}
