import { ACTIVITIES, type ActivityInput } from '#lib/contracts/activities.ts';
import type { Activity, ActivityContext } from '#lib/worker/activity.ts';
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
