import { ACTIVITIES, type ActivityInput, type ActivityName, type ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { nextConfiguration } from '#lib/search-space/sampler.ts';
import type { Trial } from '#lib/search-space/trial.ts';
import type { Activity, ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { attachReport } from '../../services/cpu-worker/app/attach-report.ts';
import { registerAlignedModel } from '../../services/cpu-worker/app/register-aligned-model.ts';
import { findChampion } from '../../services/cpu-worker/app/find-champion.ts';
import { registerModel } from '../../services/cpu-worker/app/register-model.ts';
import { searchSummary } from '../../services/cpu-worker/domain/search-summary.ts';
import { platformOf, type Run, type Tools } from './activity-tools.ts';
import { digestOf, storeFolder } from './artifacts.ts';
import { evaluateModels, runEvaluation } from './sim-evaluation.ts';
import { runProgram } from './sim-program.ts';
import { runAlignmentTraining, runTraining, trainRewardModel } from './sim-training.ts';

/**
 * Every activity as a simulated program; inputs and outputs are checked against the real schemas. What registers and tags is the real code; a search's
 * configurations and summary are made by the real functions.
 */
export function simActivities(tools: Tools): Record<string, Activity> {
  const activities: Record<string, Activity> = {
    sim_cpu_step: { run: (context) => watched(tools, context, () => simStep(tools, context, 200)) },
    sim_gpu_step: { run: (context) => watched(tools, context, () => simStep(tools, context, 900)) },
  };
  for (const [name, run] of Object.entries(PROGRAMS))
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

const short = ({ world, life }: Tools, context: ActivityContext, slowestStepMs = 300, steps = 1): Promise<void> =>
  runProgram(world, life, context, { steps, slowestStepMs });

/** The shipped function, after some simulated time. */
const asItIs =
  <A extends ActivityName>(
    run: (platform: WorkerPlatform, context: ActivityContext<ActivityInput<A>>) => Promise<ActivityOutput<A>>,
  ): Run<A> =>
  async (tools, context) => {
    await short(tools, context);
    return run(platformOf(tools), context);
  };

const validateDataset: Run<'validate_dataset'> = async (tools, context) => {
  await short(tools, context);
  const { format, bytes, sha256 } = context.input.dataset;
  return { format, documents: 10, bytes, sha256 };
};

const preprocessData: Run<'preprocess_data'> = async (tools, context) => {
  await short(tools, context, 200, 3);
  const data = await tokens(tools, context, 'tokens');
  return { data, vocabularySize: 300, trainTokens: 100, validationTokens: 10, documents: { in: 10 } };
};

const tokens = ({ store }: Tools, { jobId, activityId: activity, epoch }: ActivityContext, what: string) =>
  storeFolder(store, `${what}/${jobId}/e${epoch}`, `${what} of ${jobId}`, { jobId, activity, epoch });

const prepareWorkspace: Run<'prepare_workspace'> = async (tools, context) => {
  await short(tools, context, 200);
  return { workspace: `jobs/${context.jobId}`, bytes: 10, files: 2 };
};

const uploadArtifacts: Run<'upload_artifacts'> = async (tools, context) => {
  const { jobId, project, outputFolder, params } = context.input;
  await short(tools, context, 300, 2);
  const { world, store, registry } = tools;
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

const generateTrialConfigs: Run<'generate_trial_configs'> = async (tools, context) => {
  await short(tools, context);
  const { space, sampler, direction, seed, history, firstTrial, count } = context.input;
  const made: Trial[] = [];
  for (let trialNumber = firstTrial; trialNumber < firstTrial + count; trialNumber++) {
    const all = [...history, ...made];
    const next = nextConfiguration({ space, sampler, direction, history: all, seed, trialNumber });
    if (!next.ok) return { configurations: made.map(({ configuration }) => configuration), exhausted: next.reason };
    const { configuration } = next;
    made.push({ number: trialNumber, configuration, outcome: 'running', value: null, lastReport: null });
  }
  return { configurations: made.map(({ configuration }) => configuration), exhausted: null };
};

const selectBestTrial: Run<'select_best_trial'> = async (tools, context) => {
  await short(tools, context);
  const { space, direction, history } = context.input;
  return { ...searchSummary(space, history, direction) };
};

const validatePreferenceData: Run<'validate_preference_data'> = async (tools, context) => {
  await short(tools, context);
  const { sha256 } = context.input.preferences;
  return { pairs: 10, prompts: 10, trainPairs: 8, validationPairs: 2, warnings: [], sha256 };
};

const preprocessPreferences: Run<'preprocess_preferences'> = async (tools, context) => {
  await short(tools, context, 200, 3);
  const [pairs, prompts] = [await tokens(tools, context, 'pairs'), await tokens(tools, context, 'prompts')];
  return { pairs, prompts, trainPairs: 8, validationPairs: 2, vocabularySize: 300 };
};

const assembleTrainingData: Run<'assemble_training_data'> = async (tools, context) => {
  await short(tools, context, 300, 2);
  const { jobId, dataset } = context.input;
  const put = async (what: string) => {
    const body = `${what} of ${jobId}`;
    const { key } = await tools.store.put(`datasets/assembled/${jobId}/${what}`, Buffer.from(body));
    return { key, digest: digestOf(body) };
  };
  const [rows, rowManifest] = [await put('rows'), await put('manifest')];
  const assembled = { ...dataset, key: rows.key, sha256: rows.digest };
  return { dataset: assembled, rowManifest, rows: 10, excludedRows: 1, knownRows: 0 };
};

const PROGRAMS: { readonly [A in ActivityName]: Run<A> } = {
  validate_dataset: validateDataset,
  preprocess_data: preprocessData,
  prepare_workspace: prepareWorkspace,
  run_training: runTraining,
  upload_artifacts: uploadArtifacts,
  run_evaluation: runEvaluation,
  register_model: asItIs(registerModel),
  evaluate_models: evaluateModels,
  attach_report: asItIs(attachReport),
  run_safety_evaluation: evaluateModels,
  run_quality_evaluation: evaluateModels,
  compare_with_champion: evaluateModels,
  find_champion: async (tools, context) => {
    await short(tools, context);
    return findChampion(platformOf(tools), tools.promotions, context);
  },
  generate_trial_configs: generateTrialConfigs,
  select_best_trial: selectBestTrial,
  evaluate_best: runEvaluation,
  validate_preference_data: validatePreferenceData,
  preprocess_preferences: preprocessPreferences,
  train_reward_model: trainRewardModel,
  run_alignment_training: runAlignmentTraining,
  register_aligned_model: asItIs(registerAlignedModel),
  assemble_training_data: assembleTrainingData,
};
