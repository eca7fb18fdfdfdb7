import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerMessage, TrainerSpec } from '#lib/contracts/trainer-protocol.ts';
import { downloadFolder } from '#lib/object-store/manifest.ts';
import { findNewestValidCheckpoint } from '#lib/object-store/checkpoint-store.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { WORKSPACE } from '#lib/worker/workspace.ts';
import { CheckpointUploads } from './checkpoint-uploads.ts';
import { type GpuPlatform, runTrainer, type TrainerRun } from './trainer-run.ts';
import { TrainingCurve } from './training-curve.ts';

/** Where an attempt of a training works: everything it writes lies in `folder`, under names that begin with `prefix` and carry its epoch. */
export interface TrainingPlace {
  /** The job's folder. */
  readonly folder: string;
  /** Keeps the trainings of one job apart; empty in a job that has only one. */
  readonly prefix: string;
}

/** What of a spec is the attempt's own. */
export type AttemptFolders = Pick<
  Extract<TrainerSpec, { method: 'sft' }>,
  'outputDir' | 'checkpointDir' | 'resumeFrom' | 'limits'
>;

export interface TrainedProgram<Spec extends TrainerSpec = TrainerSpec> {
  readonly spec: Spec;
  /** Holds what the program wrote. */
  readonly outputDir: string;
  /** Every point of the curve, one JSON object a line; what an attempt resumed from is in it. */
  readonly curvePath: string;
  readonly result: TrainerRun['result'];
  /** Step of the checkpoint this attempt went on from; null = from the start. */
  readonly resumedFromStep: number | null;
  /** Newer checkpoints that could not be used, with the reason of each. */
  readonly damagedCheckpoints: string[];
}

interface Resumed {
  /** Local folder and step of the checkpoint to go on from; null = from the start. */
  readonly from: { readonly dir: string; readonly step: number } | null;
  readonly damaged: readonly string[];
}

/**
 * Trains in a child process, from the newest valid checkpoint of the activity if there is one, and stores checkpoints meanwhile. Asked to stop
 * it throws `YieldedError` with its last checkpoint stored. Everything the attempt writes carries its epoch: an attempt that lost its lease
 * without knowing can neither overwrite nor publish.
 */
export async function trainProgram<Spec extends TrainerSpec>(
  platform: GpuPlatform,
  context: ActivityContext,
  { folder, prefix }: TrainingPlace,
  specOf: (folders: AttemptFolders) => Spec,
): Promise<TrainedProgram<Spec>> {
  const { epoch } = context;
  // 1. Where to go on.
  const resumed = await newestCheckpoint(platform, context, join(folder, `${prefix}resume-e${epoch}`));
  const outputDir = join(folder, `${prefix}${WORKSPACE.output(epoch)}`);
  const curvePath = join(folder, `${prefix}${WORKSPACE.metrics(epoch)}`);
  const checkpointDir = join(folder, `${prefix}checkpoints-e${epoch}`);
  await mkdir(checkpointDir, { recursive: true });
  const spec = specOf({
    outputDir,
    checkpointDir,
    ...(resumed.from === null ? {} : { resumeFrom: resumed.from.dir }),
    limits: platform.limits,
  });
  // 2. Train; checkpoints are stored meanwhile.
  const curve = new TrainingCurve(context, curvePath);
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
    const damagedCheckpoints = [...resumed.damaged];
    return { spec, outputDir, curvePath, result, resumedFromStep: resumed.from?.step ?? null, damagedCheckpoints };
  } finally {
    await uploads.settled();
    await curve.close();
    await rm(checkpointDir, { recursive: true, force: true });
  }
}

/** A first attempt has nothing to resume and does not ask the store. Damaged checkpoints are said, not hidden. */
async function newestCheckpoint(platform: GpuPlatform, context: ActivityContext, dir: string): Promise<Resumed> {
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
  await downloadFolder(platform.store, found.manifestKey, dir, { signal, marginBytes: platform.workspaceMarginBytes });
  platform.log.info({ jobId, epoch, step: found.step }, 'resuming from checkpoint');
  return { from: { dir, step: found.step }, damaged };
}
