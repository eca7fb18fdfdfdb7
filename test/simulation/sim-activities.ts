import {
  ACTIVITIES,
  type ActivityInput,
  type ActivityName,
  type ActivityOutput,
  type FineTuneActivity,
} from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import { checkpointPrefix, findNewestValidCheckpoint } from '#lib/object-store/checkpoint-store.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import type { Activity, ActivityContext } from '#lib/worker/activity.ts';
import { registerModel } from '../../services/cpu-worker/app/register-model.ts';
import { digestOf, storeFolder } from './artifacts.ts';
import type { Life } from './life.ts';
import { pause, type ProgramWorld, runProgram } from './sim-program.ts';

/** A training of many steps takes no longer than one of few. */
const SLOWEST_TRAINING_MS = 4_200;

/** The disk that all workers share: what `run_training` leaves for `upload_artifacts`, by folder. */
export type Workspace = Map<string, string>;

export interface ActivityWorld extends ProgramWorld {
  readonly workspace: Workspace;
  /** Objects by key, to damage some. */
  readonly damage: (key: string) => void;
  readonly onStart: (context: ActivityContext, life: Life) => void;
  readonly onEnd: (context: ActivityContext, life: Life) => void;
  /** Folder of a training attempt; it carries the epoch. */
  readonly outputFolder: (workspace: string, epoch: number) => string;
}

interface Tools {
  readonly world: ActivityWorld;
  readonly life: Life;
  readonly store: ObjectStore;
  readonly registry: ModelRegistry;
}

type Run<A extends ActivityName> = (
  tools: Tools,
  context: ActivityContext<ActivityInput<A>>,
) => Promise<ActivityOutput<A>>;

/** Every activity as a simulated program; inputs and outputs are checked against the real schemas. `register_model` is the real one. */
export function simActivities(tools: Tools): Record<string, Activity> {
  const programs: { readonly [A in FineTuneActivity]: Run<A> } = {
    validate_dataset: validateDataset,
    preprocess_data: preprocessData,
    prepare_workspace: prepareWorkspace,
    run_training: runTraining,
    upload_artifacts: uploadArtifacts,
    run_evaluation: runEvaluation,
    register_model: register,
  };
  const activities: Record<string, Activity> = {
    sim_cpu_step: { run: (context) => watched(tools, context, () => simStep(tools, context, 200)) },
    sim_gpu_step: { run: (context) => watched(tools, context, () => simStep(tools, context, 900)) },
  };
  for (const [name, run] of Object.entries(programs))
    activities[name] = {
      ...ACTIVITIES[name as ActivityName],
      run: (context) => watched(tools, context, () => (run as Run<ActivityName>)(tools, context as never)),
    };
  return activities;
}

async function watched(
  { world, life }: Tools,
  context: ActivityContext,
  run: () => Promise<unknown>,
): Promise<unknown> {
  world.onStart(context, life);
  try {
    return await run();
  } finally {
    world.onEnd(context, life);
  }
}

async function simStep({ world, life }: Tools, context: ActivityContext, slowestStepMs: number): Promise<unknown> {
  await runProgram(world, life, context, { steps: 5, slowestStepMs });
  return { done: context.activityId };
}

const validateDataset: Run<'validate_dataset'> = async ({ world, life }, context) => {
  await runProgram(world, life, context, { steps: 1, slowestStepMs: 300 });
  const { format, bytes, sha256 } = context.input.dataset;
  return { format, documents: 10, bytes, sha256 };
};

const preprocessData: Run<'preprocess_data'> = async ({ world, life, store }, context) => {
  await runProgram(world, life, context, { steps: 3, slowestStepMs: 200 });
  const { jobId, activityId, epoch } = context;
  const data = await storeFolder(store, `tokens/${jobId}/e${epoch}`, `tokens of ${jobId}`, {
    jobId,
    activity: activityId,
    epoch,
  });
  return { data, vocabularySize: 300, trainTokens: 100, validationTokens: 10, documents: { in: 10 } };
};

const prepareWorkspace: Run<'prepare_workspace'> = async ({ world, life }, context) => {
  await runProgram(world, life, context, { steps: 1, slowestStepMs: 200 });
  return { workspace: `jobs/${context.jobId}`, bytes: 10, files: 2 };
};

const runTraining: Run<'run_training'> = async ({ world, life, store }, context) => {
  const { jobId, activityId, epoch, input } = context;
  const owner = { jobId, activity: activityId };
  const damaged: string[] = [];
  const found =
    epoch === 1
      ? null
      : await findNewestValidCheckpoint(store, owner, ({ step, reason }) => damaged.push(`step ${step}: ${reason}`));
  const { maxSteps, checkpointEverySteps } = input.spec.hyperparameters;
  const afterStep = async (step: number): Promise<void> => {
    if (step % checkpointEverySteps !== 0 || step === maxSteps) return;
    try {
      const prefix = checkpointPrefix(owner, { epoch, step });
      const saved = await storeFolder(store, prefix, `checkpoint ${jobId} ${step}`, { ...owner, epoch });
      if (world.faults.strikes('checkpointDamaged', 'checkpoint damaged')) world.damage(`${prefix}/weights.bin`);
      context.checkpointSaved({ step, ...saved });
    } catch (error) {
      // As in the real one: training goes on, the next checkpoint will be tried.
      if (!(error instanceof TrainyardError)) throw error;
    }
  };
  const from = Math.min(found?.step ?? 0, maxSteps - 1);
  const slowestStepMs = Math.ceil(Math.min(350, SLOWEST_TRAINING_MS / maxSteps));
  await runProgram(world, life, context, { steps: maxSteps, from, slowestStepMs, afterStep });
  const outputFolder = world.outputFolder(input.workspace, epoch);
  world.workspace.set(outputFolder, trainedBy(jobId, epoch));
  return {
    outputFolder,
    steps: maxSteps,
    metrics: { loss: 1 },
    resumedFromStep: found?.step ?? null,
    damagedCheckpoints: damaged,
  };
};

/** What a training attempt writes: says which, so that a checker can see whose it is. */
export const trainedBy = (jobId: string, epoch: number): string => `model of ${jobId} trained by epoch ${epoch}`;

const uploadArtifacts: Run<'upload_artifacts'> = async ({ world, life, store, registry }, context) => {
  const { jobId, project, outputFolder, params } = context.input;
  await runProgram(world, life, context, { steps: 2, slowestStepMs: 300 });
  const content = world.workspace.get(outputFolder);
  if (content === undefined)
    throw new TrainyardError('WorkspaceUnavailable', 'the trained files are not in the workspace');
  const name = outputFolder.slice(outputFolder.lastIndexOf('/') + 1);
  const epoch = Number(/-e(\d+)$/.exec(name)?.[1] ?? 0);
  const artifacts = await storeFolder(store, `artifacts/${project}/${jobId}/${name}`, content, {
    jobId,
    activity: 'run_training',
    epoch,
  });
  const runId = `run-${jobId}`;
  await registry.upsertRun({ runId, project, jobId, params, tags: {}, artifactUris: [artifacts.manifestKey] });
  return { artifacts, runId, files: [], uploadedFiles: 2, uploadedBytes: 10 };
};

const runEvaluation: Run<'run_evaluation'> = async ({ world, life, store }, context) => {
  await runProgram(world, life, context, { steps: 3, slowestStepMs: 300 });
  const { jobId, epoch, input } = context;
  const body = `report of ${jobId}`;
  const { key } = await store.put(`reports/${jobId}/e${epoch}.json`, Buffer.from(body));
  const value = input.seed % 4 === 0 ? 9 : 2;
  const metrics = [{ name: 'held_out.bits_per_byte', value, standardError: null, higherIsBetter: false, count: 10 }];
  return { report: { key, digest: digestOf(body) }, metrics, samples: [] };
};

const register: Run<'register_model'> = async ({ world, life, store, registry }, context) => {
  await runProgram(world, life, context, { steps: 1, slowestStepMs: 300 });
  const quiet = { info: () => undefined, warn: () => undefined };
  // Waiting for the registry takes simulated time, too.
  const clock = {
    now: () => world.sim.nowMs,
    wait: async (ms: number, signal: AbortSignal) => {
      await pause(life, signal, ms);
      signal.throwIfAborted();
    },
  };
  const platform = { store, registry, workspaceDir: '', workspaceMarginBytes: 0, log: quiet, clock };
  return registerModel(platform as never, context);
};
