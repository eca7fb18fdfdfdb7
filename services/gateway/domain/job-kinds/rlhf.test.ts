import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { RlhfInput } from '#lib/contracts/rlhf-job.ts';
import { absentDataset, adapter, dataset, findings, inputOf, model, refusals, secondsOf } from './job-kind-harness.ts';

const found = findings({
  datasets: { preferences: dataset('pairs', 'jsonl_preferences'), evaluation: dataset('texts') },
  models: { base: model('base', 1) },
});

const TRAINED = { maxSteps: 100, learningRate: 0.001 };
const gate = (metric: string, ...suites: string[]) => ({
  suites: suites.map((suite) => ({ suite })),
  policy: [{ metric, operator: '<=', threshold: 0.1 }],
});
const dpo = (change: Record<string, unknown> = {}) => ({
  preferences: { name: 'pairs' },
  base: { model: 'base@prod' },
  model: { name: 'aligned' },
  algorithm: 'dpo',
  technique: 'full',
  dpo: TRAINED,
  evaluationDataset: { name: 'texts' },
  safety: gate('toxicity.share', 'toxicity', 'bias'),
  quality: gate('preference.accuracy', 'preference_accuracy'),
  ...change,
});
const ppo = (change: Record<string, unknown> = {}, settings: Record<string, unknown> = {}) =>
  dpo({
    algorithm: 'ppo',
    dpo: undefined,
    ppo: { rounds: 10, learningRate: 0.001, ...settings },
    rewardModel: { pooling: 'mean', hyperparameters: TRAINED },
    ...change,
  });
const long = { ...TRAINED, sequenceLength: 65 };
const releasedBy = (...approvers: string[]) => dpo({ release: { promote: true, approval: { approvers } } });

/** One threshold over all suites of safety. */
const safety = (metric: string, operator: string, threshold: number) => ({
  safety: {
    suites: [{ suite: 'toxicity' }, { suite: 'bias' }, { suite: 'refusal' }],
    policy: [{ metric, operator, threshold }],
  },
});

describe('an alignment is accepted', () => {
  it.each([
    ['by dpo', dpo()],
    ['by ppo', ppo()],
    ['with adapters', dpo({ technique: 'qlora' })],
    [
      'with a policy that compares with the base',
      dpo({
        safety: {
          suites: [{ suite: 'toxicity' }],
          policy: [{ metric: 'toxicity.share', operator: '<=', threshold: 0, relativeTo: 'base' }],
        },
      }),
    ],
  ])('%s', (_what, spec) => {
    expect(refusals('rlhf', spec, found)).toEqual([]);
    expect([...Value.Errors(RlhfInput, inputOf('rlhf', spec, found))]).toEqual([]);
  });

  it('fills in what its algorithm and technique need', () => {
    expect(inputOf('rlhf', dpo({ technique: 'lora' }), found)).toMatchObject({
      champion: null,
      spec: { dpo: { beta: 0.1, batchSize: 8 }, lora: { r: 8 }, preprocessing: { validationFraction: 0.1, seed: 1 } },
      preferences: { format: 'jsonl_preferences' },
      evaluation: { name: 'texts' },
      base: { name: 'base', version: 1 },
    });
  });
});

describe('an alignment is refused, and the problem names the field, for', () => {
  it.each([
    [
      'dpo with a reward model',
      dpo({ rewardModel: { pooling: 'mean', hyperparameters: TRAINED } }),
      '/spec/rewardModel',
    ],
    ['dpo without its settings', dpo({ dpo: undefined }), '/spec/dpo'],
    ['dpo with the settings of ppo', dpo({ ppo: { rounds: 1, learningRate: 1 } }), '/spec/ppo'],
    ['ppo without a reward model', ppo({ rewardModel: undefined }), '/spec/rewardModel'],
    ['ppo without its settings', ppo({ ppo: undefined }), '/spec/ppo'],
    ['ppo with the settings of dpo', ppo({ dpo: TRAINED }), '/spec/dpo'],
    ['an unknown algorithm', dpo({ algorithm: 'grpo' }), '/spec/algorithm'],
    [
      'minibatches that do not divide the batch',
      ppo({}, { batchSize: 10, numMiniBatches: 3 }),
      '/spec/ppo/numMiniBatches',
    ],
    [
      'responses as long as the sequence',
      ppo({}, { sequenceLength: 32, responseLength: 32 }),
      '/spec/ppo/responseLength',
    ],
    ['sequences longer than the context', dpo({ dpo: long }), '/spec/dpo/sequenceLength'],
    ['rollouts longer than the context', ppo({}, { sequenceLength: 65 }), '/spec/ppo/sequenceLength'],
    [
      'a reward model with sequences longer than the context',
      ppo({ rewardModel: { pooling: 'last', hyperparameters: long } }),
      '/spec/rewardModel/hyperparameters/sequenceLength',
    ],
    [
      'too many checkpoints',
      dpo({ dpo: { ...TRAINED, maxSteps: 1_000_000, checkpointEverySteps: 1 } }),
      '/spec/dpo/checkpointEverySteps',
    ],
    ['adapter settings for full training', dpo({ lora: { r: 4 } }), '/spec/lora'],
    ['a rank above the width of the base', dpo({ technique: 'lora', lora: { r: 33 } }), '/spec/lora/r'],
    ['no safety policy', dpo({ safety: { suites: [{ suite: 'toxicity' }], policy: [] } }), '/spec/safety/policy'],
    [
      'a safety metric that no safety suite measures',
      dpo({ safety: gate('refusal.share', 'toxicity') }),
      '/spec/safety/policy/0/metric',
    ],
    [
      'a quality metric that only a safety suite measures',
      dpo({ quality: gate('toxicity.share', 'held_out_text') }),
      '/spec/quality/policy/0/metric',
    ],
    ['a suite twice', dpo({ safety: gate('toxicity.share', 'toxicity', 'toxicity') }), '/spec/safety/suites/1'],
    [
      'a safety gate that says nothing about safety',
      dpo({ safety: gate('held_out.loss', 'held_out_text') }),
      '/spec/safety/policy',
    ],
    [
      'a safety gate that every model passes',
      dpo(safety('toxicity.share', '<=', 1)),
      '/spec/safety/policy/0/threshold',
    ],
    ['a safety gate that no model passes', dpo(safety('toxicity.share', '<', 0)), '/spec/safety/policy/0/threshold'],
    ['a demand for toxicity', dpo(safety('toxicity.share', '>=', 0.1)), '/spec/safety/policy/0/operator'],
    ['a demand for bias', dpo(safety('bias.young_old.absolute_difference', '>', 1)), '/spec/safety/policy/0/operator'],
    [
      'no bias at all below nothing',
      dpo(safety('bias.mean_absolute_difference', '<=', -1)),
      '/spec/safety/policy/0/threshold',
    ],
    ['a demand for fewer refusals', dpo(safety('refusal.share', '<=', 0.1)), '/spec/safety/policy/0/operator'],
    ['refusals that any model has', dpo(safety('refusal.share', '>=', 0)), '/spec/safety/policy/0/threshold'],
    ['more refusals than there are requests', dpo(safety('refusal.share', '>', 1)), '/spec/safety/policy/0/threshold'],
    ['approvers who are only the submitter', releasedBy('key-me'), '/spec/release/approval/approvers'],
  ])('%s', (_what, spec, pointer) => {
    expect(refusals('rlhf', spec, found)).toContain(pointer);
  });

  it('no gate of safety that some models pass and others do not', () => {
    for (const gate of [
      safety('toxicity.share', '<=', 0),
      safety('toxicity.share', '<', 1),
      safety('bias.men_women.absolute_difference', '<', 100),
      safety('refusal.share', '>=', 1),
      safety('refusal.share', '>', 0),
    ])
      expect(refusals('rlhf', dpo(gate), found)).toEqual([]);
  });

  it('an adapter on an adapter, but not for full training', () => {
    const onAdapter = { ...found, models: { base: adapter } };
    expect(refusals('rlhf', dpo({ technique: 'lora' }), onAdapter)).toEqual(['/spec/base/model']);
    expect(refusals('rlhf', dpo(), onAdapter)).toEqual([]);
  });

  it('references that do not exist, and text where pairs belong or the reverse', () => {
    const nothing = findings({ datasets: { preferences: absentDataset, evaluation: absentDataset } });
    expect(refusals('rlhf', dpo(), nothing)).toEqual([
      '/spec/preferences/name',
      '/spec/evaluationDataset/name',
      '/spec/base/model',
    ]);
    const swapped = {
      ...found,
      datasets: { preferences: dataset('texts'), evaluation: dataset('pairs', 'jsonl_preferences') },
    };
    expect(refusals('rlhf', dpo(), swapped)).toEqual(['/spec/preferences', '/spec/evaluationDataset']);
  });
});

it('the estimate is the formula: dpo costs a reference beside the policy, ppo a reward model and its rollouts', () => {
  // weights 12 x 2 x 32^2 + (512 + 64) x 32 = 43,008; 64 tokens; pairs: 2 x 64 x [100 x 8 x 8 + 4 x 256 x 2] = 1,081,344 a weight; / 1e6 = 46,507 s.
  const slow = 0.001;
  const evaluations = secondsOf('rlhf', dpo(), found, slow) - 46_507 - 10;
  const twice = secondsOf('rlhf', dpo({ dpo: { ...TRAINED, maxSteps: 200 } }), found, slow);
  // 2 x 64 x [200 x 8 x 8 + 4 x 256 x 3] x 43,008 / 1e6 = 87,376.
  expect(twice - evaluations - 10).toBe(87_376);
  expect(secondsOf('rlhf', ppo(), found, slow)).toBeGreaterThan(evaluations + 20);
  expect(secondsOf('rlhf', ppo({}, { rounds: 20 }), found, slow)).toBeGreaterThan(
    secondsOf('rlhf', ppo(), found, slow),
  );
});
