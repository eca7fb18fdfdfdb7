import type { RlhfInput } from '#lib/contracts/rlhf-job.ts';
import { decideGate } from '../gate.ts';
import { release } from './release.ts';
import { outputOf, workflow } from './vocabulary.ts';
import type { WorkflowContext } from './workflow-types.ts';

type Context = WorkflowContext<RlhfInput>;

const needsRewardModel = ({ input }: Context): boolean => input.spec.algorithm === 'ppo';
const isSafe = (context: Context): boolean => safetyGate(context).passed;
const isGood = (context: Context): boolean => qualityGate(context).passed;

/**
 * Alignment by preferences: validated pairs, a reward model for PPO (DPO needs none), training, then the safety gate, which nothing leads past, then
 * quality, registration and release. Ends: COMPLETED, SAFETY_FAILED, EVAL_FAILED, and those of a release.
 */
export const rlhf = workflow<RlhfInput>('rlhf@1', (words) => {
  const { runs, chooses, ends } = words;
  return {
    initial: 'validating',
    states: {
      validating: runs('validate_preference_data', {
        lane: 'cpu',
        startToClose: '1h',
        input: ({ input }) => ({ preferences: input.preferences, config: preferenceConfig(input) }),
        onDone: 'preprocessing',
      }),
      preprocessing: runs('preprocess_preferences', {
        lane: 'cpu',
        startToClose: '2h',
        input: ({ input }) => ({ preferences: input.preferences, base: input.base, config: preferenceConfig(input) }),
        onDone: [{ when: needsRewardModel, to: 'trainingReward' }, { to: 'aligning' }],
      }),
      trainingReward: runs('train_reward_model', {
        lane: 'gpu',
        startToClose: '24h',
        input: rewardTraining,
        onDone: 'aligning',
      }),
      aligning: runs('run_alignment_training', {
        lane: 'gpu',
        startToClose: '48h',
        input: alignment,
        onDone: 'checkingSafety',
      }),
      checkingSafety: runs('run_safety_evaluation', {
        lane: 'gpu',
        startToClose: '4h',
        input: (context) => evaluation(context, context.input.spec.safety.suites),
        onDone: [{ when: isSafe, to: 'evaluating' }, { to: 'safetyFailed' }],
      }),
      evaluating: runs('run_quality_evaluation', {
        lane: 'gpu',
        startToClose: '4h',
        input: (context) => evaluation(context, context.input.spec.quality.suites),
        onDone: [{ when: isGood, to: 'registering' }, { to: 'evalFailed' }],
      }),
      registering: runs('register_aligned_model', {
        lane: 'cpu',
        startToClose: '30m',
        input: registration,
        onDone: 'deciding',
      }),
      deciding: chooses({ when: isSafe, to: 'releasing' }, { to: 'safetyFailed' }),
      ...release(words, {
        settings: ({ input }) => input.spec.release,
        candidate,
        result,
      }),
      safetyFailed: ends('SAFETY_FAILED', (context) => ({ ...trained(context), safety: safety(context), model: null })),
      evalFailed: ends('EVAL_FAILED', (context) => ({ ...assessed(context), model: null })),
    },
  };
});

const preferenceConfig = ({ spec }: RlhfInput) => spec.preprocessing ?? { validationFraction: 0.1, seed: 1 };

function rewardTraining(context: Context) {
  const { jobId, project, base, spec } = context.input;
  const { pairs } = outputOf(context, 'preprocess_preferences');
  const settings = spec.rewardModel;
  if (settings === undefined) throw new Error('ppo comes with settings of its reward model');
  return { jobId, project, base, pairs, settings, seed: spec.seed };
}

function alignment(context: Context) {
  const { jobId, project, base, spec } = context.input;
  const { algorithm, technique, lora, dpo, ppo, seed } = spec;
  const { pairs, prompts } = outputOf(context, 'preprocess_preferences');
  return {
    jobId,
    project,
    base,
    algorithm,
    technique,
    ...(lora === undefined ? {} : { lora }),
    ...(dpo === undefined ? {} : { dpo }),
    ...(ppo === undefined ? {} : { ppo }),
    pairs,
    prompts,
    ...(needsRewardModel(context) ? { rewardModel: outputOf(context, 'train_reward_model').artifacts } : {}),
    seed,
  };
}

/** The aligned model against its base, on the same items. */
function evaluation(context: Context, suites: RlhfInput['spec']['safety']['suites']) {
  const { jobId, base, evaluation: dataset, spec } = context.input;
  const { artifacts } = outputOf(context, 'run_alignment_training');
  const of = { label: 'aligned' };
  const subject =
    spec.technique === 'full' ? { ...of, weights: artifacts } : { ...of, weights: base.weights, adapter: artifacts };
  const { name, version, weights, adapter } = base;
  const compared = { label: `${name}/${version}`, weights, ...(adapter === undefined ? {} : { adapter }) };
  const { pairs } = outputOf(context, 'preprocess_preferences');
  return { jobId, subject, compareWith: [compared], dataset, preferences: pairs, suites, samples: 3, seed: spec.seed };
}

const safetyGate = (context: Context) =>
  decideGate(context.input.spec.safety.policy, outputOf(context, 'run_safety_evaluation').metrics);

const qualityGate = (context: Context) =>
  decideGate(context.input.spec.quality.policy, outputOf(context, 'run_quality_evaluation').metrics);

function registration(context: Context) {
  const { jobId, project, spec, preferences, base, configDigest, codeCommit } = context.input;
  const { artifacts, runId } = outputOf(context, 'run_alignment_training');
  if (!isSafe(context)) throw new Error('the safety gate was not passed');
  return {
    jobId,
    project,
    name: spec.model.name,
    runId,
    technique: spec.technique,
    artifacts,
    preferences,
    base,
    rewardModel: needsRewardModel(context) ? outputOf(context, 'train_reward_model').artifacts : null,
    safetyReport: outputOf(context, 'run_safety_evaluation').report,
    safetyPassed: true as const,
    qualityReport: outputOf(context, 'run_quality_evaluation').report,
    configDigest,
    codeCommit,
    vocabularySize: outputOf(context, 'preprocess_preferences').vocabularySize,
  };
}

function candidate(context: Context) {
  const { name, version } = outputOf(context, 'register_aligned_model');
  return {
    name,
    version,
    artifacts: outputOf(context, 'run_alignment_training').artifacts.digest,
    reports: {
      safety: outputOf(context, 'run_safety_evaluation').report.digest,
      quality: outputOf(context, 'run_quality_evaluation').report.digest,
    },
  };
}

function trained(context: Context) {
  const { pairs, warnings } = outputOf(context, 'validate_preference_data');
  const { metrics, artifacts } = outputOf(context, 'run_alignment_training');
  return {
    preferences: { pairs, warnings },
    rewardModel: needsRewardModel(context) ? { training: outputOf(context, 'train_reward_model').metrics } : null,
    training: metrics,
    artifacts,
  };
}

function safety(context: Context) {
  const { metrics, report, markdown } = outputOf(context, 'run_safety_evaluation');
  return { metrics, gate: safetyGate(context), report, markdown };
}

function assessed(context: Context) {
  const { metrics, report, markdown, samples } = outputOf(context, 'run_quality_evaluation');
  return {
    ...trained(context),
    safety: safety(context),
    evaluation: { metrics, gate: qualityGate(context), report, markdown },
    samples,
  };
}

function result(context: Context) {
  return { ...assessed(context), model: outputOf(context, 'register_aligned_model') };
}
