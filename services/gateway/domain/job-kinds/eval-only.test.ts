import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { EvalOnlyInput } from '#lib/contracts/eval-only-job.ts';
import type { ModelFinding } from '../findings.ts';
import { absentDataset, dataset, findings, inputOf, model, parsed, refusals, secondsOf } from './job-kind-harness.ts';
import { jobKind } from './registry.ts';

const found = findings({
  datasets: { dataset: dataset('texts'), preferences: dataset('pairs', 'jsonl_preferences') },
  models: { subject: model('speeches', 2), 'compareWith/0': model('speeches', 1) },
  artifacts: { 'compareWith/1': { refusal: null } },
});
const ARTIFACT = { manifestKey: 'artifacts/one/job-9/out-e1/manifest.json', digest: 'a'.repeat(64) };
const evaluation = (change: Record<string, unknown> = {}) => ({
  subject: { model: 'speeches@prod' },
  dataset: { name: 'texts' },
  suites: [{ suite: 'held_out_text' }],
  ...change,
});
const compared = { compareWith: [{ model: 'speeches/1' }] };
const accuracy = { suites: [{ suite: 'preference_accuracy' }] };
const line = (more: Record<string, unknown> = {}) => ({
  policy: [{ metric: 'held_out.loss', operator: '<', threshold: 1, ...more }],
});

describe('an evaluation is accepted', () => {
  it.each([
    ['of one model', evaluation()],
    [
      'beside others',
      evaluation({ compareWith: [{ model: 'speeches/1' }, { artifact: ARTIFACT }], ...line({ relativeTo: 'base' }) }),
    ],
    ['on pairs', evaluation({ ...compared, ...accuracy, preferences: { name: 'pairs' } })],
  ])('%s', (_what, spec) => {
    expect(refusals('eval_only', spec, found)).toEqual([]);
    expect([...Value.Errors(EvalOnlyInput, inputOf('eval_only', spec, found))]).toEqual([]);
  });

  it('with subjects that have a label, and their version only when they are registered', () => {
    const input = inputOf(
      'eval_only',
      evaluation({ compareWith: [{ model: 'speeches/1' }, { artifact: ARTIFACT }] }),
      found,
    );
    expect(input).toMatchObject({
      subject: { label: 'speeches/2', model: { name: 'speeches', version: 2 } },
      compareWith: [{ label: 'speeches/1' }, { label: 'aaaaaaaaaaaa', weights: ARTIFACT }],
    });
    expect((input as { compareWith: object[] }).compareWith[1]).not.toHaveProperty('model');
  });

  it('asks for models and artifacts at their pointers', () => {
    const { spec } = parsed('eval_only', evaluation({ compareWith: [{ artifact: ARTIFACT }] }));
    expect(jobKind('eval_only').references(spec)).toMatchObject({
      models: { subject: { reference: 'speeches@prod', pointer: '/spec/subject/model' } },
      artifacts: { 'compareWith/0': { ...ARTIFACT, pointer: '/spec/compareWith/0/artifact' } },
    });
  });
});

describe('an evaluation is refused, and the problem names the field, for', () => {
  it.each([
    ['a subject that is neither model nor artifact', evaluation({ subject: {} }), '/spec/subject'],
    ['a reference that is none', evaluation({ subject: { model: 'speeches' } }), '/spec/subject/model'],
    ['no suite', evaluation({ suites: [] }), '/spec/suites'],
    ['an unknown suite', evaluation({ suites: [{ suite: 'iq' }] }), '/spec/suites/0/suite'],
    ['a suite twice', evaluation({ suites: [{ suite: 'bias' }, { suite: 'bias' }] }), '/spec/suites/1'],
    ['a metric that no suite measures', evaluation(line({ metric: 'toxicity.share' })), '/spec/policy/0/metric'],
    ['a base where nothing is compared', evaluation(line({ relativeTo: 'base' })), '/spec/policy/0/relativeTo'],
    ['preference accuracy without pairs', evaluation({ ...compared, ...accuracy }), '/spec/suites/0'],
    [
      'preference accuracy without a baseline',
      evaluation({ ...accuracy, preferences: { name: 'pairs' } }),
      '/spec/suites/0',
    ],
  ])('%s', (_what, spec, pointer) => {
    expect(refusals('eval_only', spec, found)).toEqual([pointer]);
  });

  it('what does not exist or cannot be loaded, each at its place', () => {
    const unusable: ModelFinding = { kind: 'unusable', reason: 'r' };
    const nothing = findings({
      datasets: { dataset: absentDataset },
      models: { 'compareWith/0': unusable },
      artifacts: { 'compareWith/1': { refusal: 'is damaged' } },
    });
    const spec = evaluation({ compareWith: [{ model: 'speeches/1' }, { artifact: ARTIFACT }] });
    expect(refusals('eval_only', spec, nothing)).toEqual([
      '/spec/dataset/name',
      '/spec/subject/model',
      '/spec/compareWith/0/model',
      '/spec/compareWith/1/artifact',
    ]);
  });

  it('pairs where text belongs, and the reverse', () => {
    const swapped = {
      ...found,
      datasets: { dataset: dataset('pairs', 'jsonl_preferences'), preferences: dataset('texts') },
    };
    const spec = evaluation({ ...compared, ...accuracy, preferences: { name: 'pairs' } });
    expect(refusals('eval_only', spec, swapped)).toEqual(['/spec/dataset', '/spec/preferences']);
  });
});

it('the estimate counts every model and every byte of the set, unless the suite says how many tokens', () => {
  // 43,008 weights x 2 x 1,000 bytes / 1e4 = 8,602 s for one model.
  const slow = 1e-5;
  expect(secondsOf('eval_only', evaluation(), found, slow)).toBe(10 + 8_602);
  expect(secondsOf('eval_only', evaluation(compared), found, slow)).toBe(10 + 17_204);
  const fewer = evaluation({ suites: [{ suite: 'held_out_text', maxTokens: 100 }] });
  expect(secondsOf('eval_only', fewer, found, slow)).toBe(10 + 861);
});
