import { ACTIVITIES, type ActivityInput } from '#lib/contracts/activities.ts';
import type { Activity, ActivityContext } from '#lib/worker/activity.ts';
import { runEvaluation } from './run-evaluation.ts';
import { runTraining } from './run-training.ts';
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
});
