import { describe, expect, it } from 'vitest';
import type { TSchema } from '#typebox';
import { Value } from '#typebox/value';
import { ACTIVITIES, type ActivityName } from '#lib/contracts/activities.ts';
import { EvalOnlyInput } from '#lib/contracts/eval-only-job.ts';
import { HpoInput } from '#lib/contracts/hpo-job.ts';
import { FineTuneInput } from '#lib/contracts/jobs.ts';
import { RetrainInput } from '#lib/contracts/retrain-job.ts';
import { RlhfInput } from '#lib/contracts/rlhf-job.ts';
import {
  evalOnlyInput,
  FULL_RELEASE,
  hpoInput,
  retrainInput,
  rlhfInput,
} from '../../../../test/support/flows/flow-inputs.ts';
import { plausibleOutput } from '../../../../test/support/flows/flow-outputs.ts';
import { registered, RELEASING, searched } from '../../../../test/support/flows/flow-stories.ts';
import { startOf, Story } from '../../../../test/support/flows/story.ts';
import { fineTuneInput } from '../../../../test/replay/fine-tune-facts.ts';
import { foldFacts } from '../../../../test/support/given-when-then.ts';
import { workflowRegistry } from './registry.ts';

const errors = (schema: TSchema, value: unknown) =>
  [...Value.Errors(schema, value)].map(({ instancePath, message }) => `${instancePath} ${message}`);

/** Every activity that was asked for and every child that was started, with what its schema says about the input; and the outputs we made up. */
function wrongIn(story: Story): string[] {
  const wrong: string[] = [];
  const seen = new Set<string>();
  for (const effect of story.effects) {
    if (effect.type === 'startChild')
      wrong.push(...errors(FineTuneInput, effect.input).map((error) => `${effect.childId}: ${error}`));
    if (effect.type !== 'activityChanged' || effect.entry.state !== 'queued') continue;
    const { activityId, name, input } = effect.entry.request;
    if (seen.has(activityId)) continue;
    seen.add(activityId);
    const schemas = ACTIVITIES[name as ActivityName];
    wrong.push(...errors(schemas.input, input).map((error) => `${activityId}: ${error}`));
    wrong.push(...errors(schemas.output, plausibleOutput(name, input)).map((error) => `output of ${name}: ${error}`));
  }
  expect(seen.size).toBeGreaterThan(0);
  return wrong;
}

function evaluated(change: Parameters<typeof evalOnlyInput>[0], output = {}): Story {
  const story = new Story(startOf('eval_only', evalOnlyInput(change)));
  story.answer('evaluate_models', output);
  if (story.machineState === 'attaching') story.answer('attach_report');
  return story;
}

describe('the inputs of these tests', () => {
  it.each([
    ['hpo', HpoInput, hpoInput({ release: FULL_RELEASE })],
    ['retrain', RetrainInput, retrainInput({}, FULL_RELEASE)],
    ['a first retrain', RetrainInput, retrainInput({ champion: null })],
    ['rlhf by dpo', RlhfInput, rlhfInput('dpo', FULL_RELEASE)],
    ['rlhf by ppo', RlhfInput, rlhfInput('ppo')],
    ['eval_only', EvalOnlyInput, evalOnlyInput()],
  ] as const)('%s are what the gateway may hand over', (_, schema, input) => {
    expect(errors(schema, input)).toEqual([]);
  });
});

describe('every step gives its worker an input that the worker accepts', () => {
  it.each(RELEASING)('in %s, up to its release', (flow) => {
    expect(wrongIn(registered(flow, FULL_RELEASE))).toEqual([]);
    expect(wrongIn(registered(flow, undefined, false))).toEqual([]);
  });

  it('in rlhf by PPO, with its reward model', () => {
    const story = new Story(startOf('rlhf', rlhfInput('ppo')));
    for (const activity of ['validate_preference_data', 'preprocess_preferences', 'train_reward_model'])
      story.answer(activity);
    expect(story.state.activities['run_alignment_training']?.request.input).toMatchObject({
      rewardModel: { manifestKey: 'reward/manifest.json' },
    });
    for (const activity of ['run_alignment_training', 'run_safety_evaluation', 'run_quality_evaluation'])
      story.answer(activity);
    story.answer('register_aligned_model');
    expect(wrongIn(story)).toEqual([]);
    expect(story.status).toBe('COMPLETED');
  });

  it('in rlhf that trains every weight, and on a base that is an adapter', () => {
    const input = rlhfInput('dpo');
    const { lora: _lora, ...spec } = input.spec;
    const full = { ...input, spec: { ...spec, technique: 'full' as const } };
    const adapted = { ...input, base: { ...input.base, adapter: { manifestKey: 'a', digest: 'b'.repeat(64) } } };
    for (const each of [full, adapted]) {
      const story = new Story(startOf('rlhf', each));
      for (const activity of ['validate_preference_data', 'preprocess_preferences', 'run_alignment_training'])
        story.answer(activity);
      expect(wrongIn(story)).toEqual([]);
    }
  });

  it('in eval_only of a version, of artifacts, and with preferences', () => {
    const { model: _model, ...artifacts } = evalOnlyInput().subject;
    const preferences = evalOnlyInput().dataset;
    for (const story of [evaluated({}), evaluated({ subject: artifacts }), evaluated({ preferences })])
      expect(wrongIn(story)).toEqual([]);
  });

  it('in a search whose trials use other methods', () => {
    const space = {
      parameters: [
        { name: 'method', type: 'categorical' as const, choices: ['full', 'lora'] },
        { name: 'lora.r', type: 'int' as const, min: 1, max: 16, when: { parameter: 'method', equals: 'lora' } },
        { name: 'seed', type: 'int' as const, min: 1, max: 9 },
        { name: 'batchSize', type: 'int' as const, min: 1, max: 16 },
      ],
    };
    expect(wrongIn(searched({ space, trials: 8, maxConcurrent: 8 }))).toEqual([]);
  });
});

describe('eval_only', () => {
  it('attaches the report to a registered version, and not to artifacts', () => {
    expect(evaluated({}).said).toContain('attach_report: queued #1');
    const { model: _model, ...artifacts } = evalOnlyInput().subject;
    const story = evaluated({ subject: artifacts });
    expect(story.said).not.toContain('attach_report: queued #1');
    expect(story.status).toBe('COMPLETED');
  });

  it('ends EVAL_FAILED with the reasons when the policy is not met or not measured', () => {
    for (const metrics of [
      [],
      [{ name: 'held_out.bits_per_byte', value: 3, standardError: null, higherIsBetter: false, count: 1 }],
    ]) {
      const story = evaluated({}, { metrics });
      expect(story.status).toBe('EVAL_FAILED');
      expect(story.state.finish?.result).toMatchObject({ evaluation: { gate: { passed: false } } });
    }
    expect(evaluated({}).state.finish).toMatchObject({
      status: 'COMPLETED',
      result: { subject: 'demo-speeches/3', comparisons: [{ label: 'other' }], evaluation: { gate: { passed: true } } },
    });
  });
});

describe('a trial', () => {
  it('ends with its artifacts stored: its search evaluates and registers the best one', () => {
    const story = new Story(startOf('fine_tune', { ...fineTuneInput(), purpose: 'trial' }));
    for (const activity of [
      'validate_dataset',
      'preprocess_data',
      'prepare_workspace',
      'run_training',
      'upload_artifacts',
    ])
      story.answer(activity);
    expect(story.machineState).toBe('trialDone');
    expect(story.state.finish).toMatchObject({
      status: 'COMPLETED',
      result: { runId: 'run-1', steps: 200, training: { 'train.loss': 3.25 }, workspace: 'jobs/job-1' },
    });
  });
});

describe('hpo', () => {
  it('evaluates and registers the best trial under the job of that trial', () => {
    const story = searched();
    story.answer('select_best_trial');
    expect(story.state.activities['evaluate_best']?.request.input).toMatchObject({ jobId: 'job-1-trial-1' });
    story.answer('evaluate_best');
    expect(story.state.activities['register_model']?.request.input).toMatchObject({
      jobId: 'job-1-trial-1',
      report: { key: 'reports/job-1.json' },
    });
    story.answer('register_model');
    expect(story.state.finish?.result).toMatchObject({
      best: { number: 1, value: 1 },
      savings: { stepsRun: 300, stepsSaved: 0, gpuSecondsUsed: 6 },
      release: { promoted: false },
    });
  });

  it('registers nothing when the best one does not pass the gate', () => {
    const story = searched();
    story.answer('select_best_trial');
    story.answer('evaluate_best', { metrics: [] });
    expect(story.status).toBe('EVAL_FAILED');
    expect(story.state.activities).not.toHaveProperty('register_model');
  });
});

describe('retrain', () => {
  const HOUR_MS = 3_600_000;
  const start = (change: Parameters<typeof retrainInput>[0]) => new Story(startOf('retrain', retrainInput(change)));

  it('is SKIPPED when another one of the model was taken in within the hours of a storm', () => {
    const story = start({ lastRetrainAtMs: 999_000 - 6 * HOUR_MS + 1 });
    expect(story.said).toEqual(['finished SKIPPED']);
    expect(story.state.finish?.result).toMatchObject({ lastRetrainAtMs: 999_000 - 6 * HOUR_MS + 1 });
    expect(start({ lastRetrainAtMs: 999_000 - 6 * HOUR_MS }).machineState).toBe('assembling');
    const { spec } = retrainInput();
    expect(start({ lastRetrainAtMs: 999_000, spec: { ...spec, stormHours: 0 } }).machineState).toBe('assembling');
  });

  it('trains on the assembled rows, and tells the training where they came from', () => {
    const story = start({});
    expect(story.state.activities['assemble_training_data']?.request.input).toMatchObject({
      former: { name: 'demo-speeches', version: 3 },
      exclude: [{ name: 'held-out' }],
    });
    story.answer('assemble_training_data');
    const child = story.effects.find((effect) => effect.type === 'startChild');
    expect(child).toMatchObject({
      input: { dataset: { key: 'datasets/assembled/1' }, rowManifest: { key: 'datasets/assembled/1.rows' } },
    });
  });

  it.each([
    ['EVAL_FAILED', 'evalFailed', 'EVAL_FAILED'],
    ['FAILED', 'trainingFailed', 'FAILED'],
    ['CANCELLED', 'trainingFailed', 'FAILED'],
    ['TIMED_OUT', 'trainingFailed', 'FAILED'],
  ] as const)('whose training ended %s ends in %s and releases nothing', (child, state, status) => {
    const story = start({});
    story.answer('assemble_training_data');
    story.childEnded('training', child, null, { code: 'X' });
    expect(story.machineState).toBe(state);
    expect(story.status).toBe(status);
    expect(story.state.finish?.result).toMatchObject({ training: { jobId: 'job-1-training', status: child } });
    expect(story.effects.filter(({ type }) => type === 'promote')).toEqual([]);
  });

  it('whose challenger is not better ends EVAL_FAILED with the comparison, and releases nothing', () => {
    const metric = { name: 'held_out.bits_per_byte', value: 2.5, standardError: 0.1, higherIsBetter: false, count: 30 };
    for (const metrics of [
      [],
      [metric],
      [{ ...metric, delta: 0, deltaStandardError: 0.03 }],
      [{ ...metric, delta: -0.05, deltaStandardError: 0.03 }],
      [{ ...metric, delta: 0.25, deltaStandardError: 0.03 }],
      [{ ...metric, delta: Number.NaN, deltaStandardError: 0.03 }],
    ]) {
      const story = start({});
      story.answer('assemble_training_data');
      story.childEnded('training', 'COMPLETED', { ...CHALLENGED });
      story.answer('compare_with_champion', { metrics });
      story.answer('attach_report');
      expect(story.machineState).toBe('notBetter');
      expect(story.status).toBe('EVAL_FAILED');
      expect(story.effects.filter(({ type }) => type === 'promote')).toEqual([]);
    }
  });

  it('of a model without a champion compares with nobody, and needs no canary', () => {
    const story = registered('retrain', { ...FULL_RELEASE, approval: undefined as never }, false);
    expect(story.state.activities).not.toHaveProperty('compare_with_champion');
    expect(story.said.slice(-2)).toEqual(['demo-speeches/4 to prod', 'finished COMPLETED']);
  });

  it('of a model whose champion is not in production compares, and needs no canary', () => {
    const { champion } = retrainInput();
    if (champion === null) throw new Error('there is one');
    const story = new Story(
      startOf(
        'retrain',
        retrainInput(
          { champion: { ...champion, stage: 'staging' } },
          { ...FULL_RELEASE, approval: undefined as never },
        ),
      ),
    );
    story.answer('assemble_training_data');
    story.childEnded('training', 'COMPLETED', CHALLENGED);
    story.answer('compare_with_champion');
    expect(story.answer('attach_report').slice(-2)).toEqual(['demo-speeches/4 to prod', 'finished COMPLETED']);
  });
});

const CHALLENGED = {
  model: { name: 'demo-speeches', version: 4 },
  artifacts: { manifestKey: 'm', digest: 'a'.repeat(64) },
  evaluation: { report: { key: 'r', digest: 'b'.repeat(64) } },
};

it.each(RELEASING)('%s folds from a stored state at every prefix to the same end', (flow) => {
  const story = registered(flow, FULL_RELEASE);
  const registry = workflowRegistry();
  const whole = JSON.stringify(story.state);
  for (let length = 1; length < story.facts.length; length++) {
    const stored = JSON.parse(JSON.stringify(foldFacts(registry, story.facts.slice(0, length)))) as Story['state'];
    expect(JSON.stringify(foldFacts(registry, story.facts.slice(length), stored))).toBe(whole);
  }
});
