import { ACTIVITIES, type ActivityInput, type ActivityName, type ActivityOutput } from '#lib/contracts/activities.ts';
import type { PromotionLedger } from '#lib/promotion/port.ts';
import type { Activity, ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { assembleTrainingData } from './assemble-training-data.ts';
import { attachReport } from './attach-report.ts';
import { findChampion } from './find-champion.ts';
import { generateTrialConfigs } from './generate-trial-configs.ts';
import { prepareWorkspace } from './prepare-workspace.ts';
import { preprocessData } from './preprocess-data.ts';
import { preprocessPreferences } from './preprocess-preferences.ts';
import { registerAlignedModel } from './register-aligned-model.ts';
import { registerModel } from './register-model.ts';
import { selectBestTrial } from './select-best-trial.ts';
import { uploadArtifacts } from './upload-artifacts.ts';
import { validateDataset } from './validate-dataset.ts';
import { validatePreferenceData } from './validate-preference-data.ts';

/** The activities of the CPU lane. Each is idempotent: any epoch may run again after any other. */
export function cpuActivities(
  platform: WorkerPlatform,
  ledger: Pick<PromotionLedger, 'stages'>,
): Record<string, Activity> {
  return {
    find_champion: activity('find_champion', (_, context) => findChampion(platform, ledger, context)),
    validate_dataset: activity('validate_dataset', validateDataset),
    preprocess_data: activity('preprocess_data', preprocessData),
    prepare_workspace: activity('prepare_workspace', prepareWorkspace),
    upload_artifacts: activity('upload_artifacts', uploadArtifacts),
    register_model: activity('register_model', registerModel),
    attach_report: activity('attach_report', attachReport),
    generate_trial_configs: activity('generate_trial_configs', generateTrialConfigs),
    select_best_trial: activity('select_best_trial', selectBestTrial),
    assemble_training_data: activity('assemble_training_data', assembleTrainingData),
    validate_preference_data: activity('validate_preference_data', validatePreferenceData),
    preprocess_preferences: activity('preprocess_preferences', preprocessPreferences),
    register_aligned_model: activity('register_aligned_model', registerAlignedModel),
  };

  function activity<A extends ActivityName>(
    name: A,
    run: (platform: WorkerPlatform, context: ActivityContext<ActivityInput<A>>) => Promise<ActivityOutput<A>>,
  ): Activity {
    return {
      ...ACTIVITIES[name],
      run: (context) => run(platform, context as ActivityContext<ActivityInput<A>>),
    };
  }
}
