import { TRAINING_RUN_FILES, type TrainingRun } from '#lib/contracts/training-run.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { checkpointPrefix, findNewestValidCheckpoint } from '#lib/object-store/checkpoint-store.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { Run, Tools } from './activity-tools.ts';
import { storeFolder } from './artifacts.ts';
import { runProgram } from './sim-program.ts';

/** A training of many steps takes no longer than one of few. */
const SLOWEST_TRAINING_MS = 4_200;

/** One seed in so many has a curve with points that are no numbers. */
const NOT_A_NUMBER_EVERY = 9;

interface Training {
  readonly maxSteps: number;
  readonly checkpointEverySteps: number;
  readonly learningRate: number;
  readonly seed: number;
}

interface Trained {
  readonly resumedFromStep: number | null;
  readonly damagedCheckpoints: string[];
}

/** A curve that falls, the lower the smaller the learning rate: what searches prune by. A function of its arguments. */
const lossAt = ({ learningRate, seed }: Training, step: number): number =>
  100 * learningRate + 1 / step + (seed % 10) / 1_000;

/** What a training attempt writes: says which, so that a checker can see whose it is. */
export const trainedBy = (jobId: string, epoch: number): string => `model of ${jobId} trained by epoch ${epoch}`;

/** Steps with a curve and checkpoints, from the newest checkpoint that can be used; asked to yield, it stores one more. */
async function train({ world, life, store }: Tools, context: ActivityContext, training: Training): Promise<Trained> {
  const { jobId, activityId, epoch } = context;
  const owner = { jobId, activity: activityId };
  const damagedCheckpoints: string[] = [];
  const found =
    epoch === 1
      ? null
      : await findNewestValidCheckpoint(store, owner, ({ step, reason }) =>
          damagedCheckpoints.push(`step ${step}: ${reason}`),
        );
  const { maxSteps, checkpointEverySteps, seed } = training;
  const checkpoint = async (step: number): Promise<void> => {
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
  const isDue = (step: number): boolean => step % checkpointEverySteps === 0 && step !== maxSteps;
  const afterStep = async (step: number): Promise<void> => {
    const value = seed % NOT_A_NUMBER_EVERY === 0 && step % 2 === 0 ? Number.NaN : lossAt(training, step);
    context.metrics([{ name: 'validation.loss', step, value }]);
    if (isDue(step)) await checkpoint(step);
  };
  await runProgram(world, life, context, {
    steps: maxSteps,
    from: Math.min(found?.step ?? 0, maxSteps - 1),
    slowestStepMs: Math.ceil(Math.min(350, SLOWEST_TRAINING_MS / maxSteps)),
    afterStep,
    beforeYield: (step) => (isDue(step) ? Promise.resolve() : checkpoint(step)),
  });
  return { resumedFromStep: found?.step ?? null, damagedCheckpoints };
}

export const runTraining: Run<'run_training'> = async (tools, context) => {
  const { jobId, epoch, input } = context;
  const training = { ...input.spec.hyperparameters, seed: input.spec.seed };
  const trained = await train(tools, context, training);
  const outputFolder = tools.world.outputFolder(input.workspace, epoch);
  tools.world.workspace.set(outputFolder, trainedBy(jobId, epoch));
  const { maxSteps: steps } = training;
  return { outputFolder, steps, metrics: { 'validation.loss': lossAt(training, steps) }, ...trained };
};

export const trainRewardModel: Run<'train_reward_model'> = (tools, context) => {
  const { settings, seed } = context.input;
  return trainAndStore(tools, context, 'reward', { ...settings.hyperparameters, seed });
};

export const runAlignmentTraining: Run<'run_alignment_training'> = (tools, context) => {
  const { algorithm, dpo, ppo, seed } = context.input;
  if (algorithm === 'dpo' && dpo !== undefined) return trainAndStore(tools, context, 'dpo', { ...dpo, seed });
  if (ppo === undefined) throw new TrainyardError('ValidationFailed', 'ppo has no settings');
  const maxSteps = ppo.rounds * ppo.numPpoEpochs * ppo.numMiniBatches;
  return trainAndStore(tools, context, 'ppo', { ...ppo, maxSteps, seed });
};

/** A training that stores its own result, with what the registry is told later beside it. */
async function trainAndStore(
  tools: Tools,
  context: ActivityContext,
  method: TrainingRun['method'],
  training: Training,
): ReturnType<Run<'run_alignment_training'>> {
  const { jobId, project, activityId: activity, epoch } = context;
  const trained = await train(tools, context, training);
  const { maxSteps: steps } = training;
  const metrics = { loss: lossAt(training, steps) };
  const runId = `run-${jobId}-${method}`;
  const run: TrainingRun = {
    format: 'trainyard-run/1',
    runId,
    jobId,
    activity,
    epoch,
    method,
    technique: 'full',
    steps,
    params: {},
    metrics,
  };
  const prefix = `artifacts/${project}/${jobId}/${method}-e${epoch}`;
  const artifacts = await storeFolder(tools.store, prefix, trainedBy(jobId, epoch), { jobId, activity, epoch }, [
    [TRAINING_RUN_FILES.curve, JSON.stringify({ name: 'train.loss', step: 1, value: 1 })],
    [TRAINING_RUN_FILES.run, JSON.stringify(run)],
  ]);
  return { artifacts, files: [], runId, steps, metrics, ...trained };
}
