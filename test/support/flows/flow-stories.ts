import type { ReleaseSettings } from '#lib/contracts/release.ts';
import { hpoInput, retrainInput, rlhfInput } from './flow-inputs.ts';
import { CHALLENGER, trialResult } from './flow-outputs.ts';
import { startOf, Story } from './story.ts';

/** The flows that release what they made. */
export const RELEASING = ['hpo', 'retrain', 'rlhf'] as const;
export type Releasing = (typeof RELEASING)[number];

export const RLHF_STEPS = [
  'validate_preference_data',
  'preprocess_preferences',
  'run_alignment_training',
  'run_safety_evaluation',
  'run_quality_evaluation',
  'register_aligned_model',
] as const;

/** A flow whose model is registered and good: told up to where its release begins. `champion`: there is a version in production. */
export function registered(flow: Releasing, release: ReleaseSettings | undefined, champion = true): Story {
  switch (flow) {
    case 'hpo': {
      const story = searched(release === undefined ? {} : { release }, champion);
      for (const activity of ['select_best_trial', 'evaluate_best', 'register_model']) story.answer(activity);
      return story;
    }
    case 'retrain': {
      const input = retrainInput(champion ? {} : { champion: null }, release ?? { promote: false });
      const story = new Story(startOf('retrain', input));
      story.answer('assemble_training_data');
      story.childEnded('training', 'COMPLETED', CHALLENGER);
      if (!champion) return story;
      story.answer('compare_with_champion');
      story.answer('attach_report');
      return story;
    }
    case 'rlhf': {
      const story = new Story(startOf('rlhf', { ...rlhfInput('dpo', release), champion: champion ? 2 : null }));
      for (const activity of RLHF_STEPS) story.answer(activity);
      return story;
    }
  }
}

/** A search of three trials that is over; trial 1 was the best. */
export function searched(change: Parameters<typeof hpoInput>[0] = {}, champion = false): Story {
  const input = { ...hpoInput({ trials: 3, maxConcurrent: 3, ...change }), champion: champion ? 2 : null };
  const story = new Story(startOf('hpo', input));
  story.answer('generate_trial_configs-1');
  for (const [n, value] of [2, 1, 3].entries()) story.childEnded(`trial-${n}`, 'COMPLETED', trialResult(value));
  return story;
}
