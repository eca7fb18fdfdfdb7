import type { ActivityInput, ActivityName, ActivityOutput } from '#lib/contracts/activities.ts';
import type { TrialResult } from '../../../services/orchestrator/domain/workflows/fine-tune.ts';
import { OUTPUTS } from '../../replay/fine-tune-facts.ts';
import { bestTrial } from '#lib/search-space/best-trial.ts';
import { nextConfiguration } from '#lib/search-space/sampler.ts';
import type { Trial } from '#lib/search-space/trial.ts';
import { digest } from './flow-inputs.ts';

const stored = (name: string) => ({ manifestKey: `${name}/manifest.json`, digest: digest('e') });
const file = (name: string) => ({ key: `reports/${name}`, digest: digest('2') });

const metric = (name: string, value: number, delta: number, higherIsBetter = false) => ({
  name,
  value,
  standardError: 0.05,
  higherIsBetter,
  count: 30,
  baselineValue: value - delta,
  delta,
  deltaStandardError: 0.03,
});

/** Passes every gate of `flow-inputs.ts`, and is better than the model it is compared with. */
const evaluated = (name: string): ActivityOutput<'evaluate_models'> => {
  const metrics = [
    metric('held_out.bits_per_byte', 2.5, -0.25),
    metric('toxicity.share', 0.01, -0.01),
    metric('bias.mean_absolute_difference', 0.2, -0.1),
    metric('preference.accuracy', 0.7, 0.2, true),
  ];
  return {
    report: file(`${name}.json`),
    markdown: file(`${name}.md`),
    metrics,
    comparisons: [{ label: 'other', metrics }],
    samples: [{ prompt: 'My fellow', text: ' citizens' }],
  };
};

const trained = (name: string) => ({
  artifacts: stored(name),
  files: [{ path: 'adapter.safetensors', bytes: 1_234, sha256: digest('1') }],
  runId: `run-${name}`,
  steps: 200,
  metrics: { 'train.loss': 0.5 },
  resumedFromStep: null,
  damagedCheckpoints: [],
});

type Answers = { readonly [A in ActivityName]: (input: ActivityInput<A>) => ActivityOutput<A> };

/** A plausible output of every activity, given what it was asked. Searches are real: the sampler and the choice of the best trial are the product's. */
const ANSWERS: Answers = {
  validate_dataset: () => OUTPUTS.validate_dataset,
  preprocess_data: () => OUTPUTS.preprocess_data,
  prepare_workspace: () => OUTPUTS.prepare_workspace,
  run_training: () => OUTPUTS.run_training,
  upload_artifacts: () => OUTPUTS.upload_artifacts,
  run_evaluation: () => OUTPUTS.run_evaluation,
  register_model: ({ name }) => ({ ...OUTPUTS.register_model, name }),
  evaluate_best: () => OUTPUTS.run_evaluation,
  evaluate_models: () => evaluated('evaluation'),
  attach_report: ({ model }) => ({ ...model, tags: { 'report.job-1': digest('2') } }),
  run_safety_evaluation: () => evaluated('safety'),
  run_quality_evaluation: () => evaluated('quality'),
  compare_with_champion: () => evaluated('comparison'),
  find_champion: ({ model }) => ({ version: model === 'demo-speeches' ? 3 : 2 }),
  generate_trial_configs: generate,
  select_best_trial: ({ direction, history }) => ({
    best: bestTrial(history, direction),
    importance: [],
    parallelCoordinates: { axes: [], lines: [] },
  }),
  validate_preference_data: () => ({
    pairs: 100,
    prompts: 90,
    trainPairs: 90,
    validationPairs: 10,
    warnings: [{ kind: 'repeatedPrompt', rows: [4, 5], count: 2 }],
    sha256: digest('a'),
  }),
  preprocess_preferences: () => ({
    pairs: stored('pairs'),
    prompts: stored('prompts'),
    trainPairs: 90,
    validationPairs: 10,
    vocabularySize: 1_024,
  }),
  train_reward_model: () => trained('reward'),
  run_alignment_training: () => trained('aligned'),
  register_aligned_model: ({ name }) => ({ name, version: 4, stage: 'dev', lineage: { job: 'job-1' } }),
  assemble_training_data: ({ dataset }) => ({
    dataset: { ...dataset, key: 'datasets/assembled/1', sha256: digest('5') },
    rowManifest: { key: 'datasets/assembled/1.rows', digest: digest('6') },
    rows: 400,
    excludedRows: 3,
    knownRows: 100,
  }),
};

export function plausibleOutput(name: string, input: unknown): unknown {
  const answer = ANSWERS[name as ActivityName] as ((input: unknown) => unknown) | undefined;
  if (answer === undefined) throw new Error(`no activity ${name}`);
  return answer(input);
}

function generate(input: ActivityInput<'generate_trial_configs'>): ActivityOutput<'generate_trial_configs'> {
  const history: Trial[] = [...input.history];
  const configurations: ActivityOutput<'generate_trial_configs'>['configurations'] = [];
  for (let trialNumber = input.firstTrial; trialNumber < input.firstTrial + input.count; trialNumber++) {
    const next = nextConfiguration({ ...input, history, trialNumber });
    if (!next.ok) return { configurations, exhausted: next.reason };
    const configuration = { ...next.configuration };
    configurations.push(configuration);
    history.push({ number: trialNumber, configuration, outcome: 'running', value: null, lastReport: null });
  }
  return { configurations, exhausted: null };
}

/** The answer of a fine-tuning that a retrain started. */
export const CHALLENGER = {
  model: { name: 'demo-speeches', version: 4, stage: 'dev', lineage: {} },
  artifacts: OUTPUTS.upload_artifacts.artifacts,
  evaluation: { metrics: OUTPUTS.run_evaluation.metrics, report: OUTPUTS.run_evaluation.report },
  samples: [],
  training: { 'train.loss': 3 },
};

/** The answer of a trial that ended with this value of the objective; null: it never reported it. */
export const trialResult = (value: number | null, steps = 100): TrialResult => ({
  artifacts: OUTPUTS.upload_artifacts.artifacts,
  runId: 'run-1',
  training: value === null ? {} : { 'validation.loss': value },
  steps,
  data: OUTPUTS.preprocess_data.data,
  vocabularySize: 1_024,
  workspace: 'jobs/trial',
});
