import { ACTIVITIES, type ActivityInput } from '#lib/contracts/activities.ts';
import type { EVALUATION_ACTIVITIES } from '#lib/contracts/evaluation-activities.ts';
import type { Activity, ActivityContext } from '#lib/worker/activity.ts';
import { evaluateModels } from './evaluate-models.ts';
import { runAlignmentTraining } from './run-alignment-training.ts';
import { runEvaluation } from './run-evaluation.ts';
import { runTraining } from './run-training.ts';
import { trainRewardModel } from './train-reward-model.ts';
import type { GpuPlatform } from './trainer-run.ts';

/** The activities of the GPU lane. */
export const gpuActivities = (platform: GpuPlatform): Record<string, Activity> => ({
  run_training: {
    ...ACTIVITIES.run_training,
    run: (context) => runTraining(platform, context as ActivityContext<ActivityInput<'run_training'>>),
  },
  run_evaluation: {
    ...ACTIVITIES.run_evaluation,
    run: (context) => runEvaluation(platform, context as ActivityContext<ActivityInput<'run_evaluation'>>),
  },
  evaluate_models: evaluation('evaluate_models', platform),
  run_safety_evaluation: evaluation('run_safety_evaluation', platform),
  run_quality_evaluation: evaluation('run_quality_evaluation', platform),
  compare_with_champion: evaluation('compare_with_champion', platform),
  evaluate_best: {
    ...ACTIVITIES.evaluate_best,
    run: (context) => runEvaluation(platform, context as ActivityContext<ActivityInput<'run_evaluation'>>),
  },
  train_reward_model: {
    ...ACTIVITIES.train_reward_model,
    run: (context) => trainRewardModel(platform, context as ActivityContext<ActivityInput<'train_reward_model'>>),
  },
  run_alignment_training: {
    ...ACTIVITIES.run_alignment_training,
    run: (context) =>
      runAlignmentTraining(platform, context as ActivityContext<ActivityInput<'run_alignment_training'>>),
  },
});

/** The same work under the name that a workflow has for it. */
function evaluation(
  name: Exclude<keyof typeof EVALUATION_ACTIVITIES, 'attach_report'>,
  platform: GpuPlatform,
): Activity {
  return {
    ...ACTIVITIES[name],
    run: (context) => evaluateModels(platform, context as ActivityContext<ActivityInput<'evaluate_models'>>),
  };
}
