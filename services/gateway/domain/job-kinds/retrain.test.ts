import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { RetrainInput } from '#lib/contracts/retrain-job.ts';
import type { Findings } from '../findings.ts';
import { absentDataset, dataset, findings, inputOf, model, refusals, secondsOf } from './job-kind-harness.ts';

const champion = { version: 3, stage: 'prod', finding: model('speeches', 3) };
const found = findings({
  datasets: {
    training: dataset('new-speeches'),
    comparison: dataset('recent-speeches'),
    'exclude/0': dataset('held-out'),
  },
  models: { base: model('speeches', 3) },
  champion,
  lastRetrainAtMs: 500,
});
const without = (change: Partial<Findings>): Findings => ({ ...found, ...change });
const datasets = (change: Record<string, ReturnType<typeof dataset>>) =>
  without({ datasets: { ...found.datasets, ...change } });

const TRAINING = {
  dataset: { name: 'new-speeches' },
  base: { model: 'speeches@prod' },
  method: 'full',
  model: { name: 'speeches' },
  hyperparameters: { maxSteps: 100, learningRate: 0.01 },
  evaluation: { suites: [{ suite: 'held_out_text' }] },
};
const COMPARISON = {
  dataset: { name: 'recent-speeches' },
  suites: [{ suite: 'held_out_text' }],
  metric: 'held_out.bits_per_byte',
};
const retrain = (change: Record<string, unknown> = {}) => ({
  model: { name: 'speeches' },
  training: TRAINING,
  comparison: COMPARISON,
  release: { promote: true },
  ...change,
});
const withExclude = { data: { exclude: [{ name: 'held-out' }] } };

describe('a retrain is accepted', () => {
  it('with what it needs, and fills in the rest', () => {
    expect(refusals('retrain', retrain(withExclude), found)).toEqual([]);
    const input = inputOf('retrain', retrain(withExclude), found);
    expect([...Value.Errors(RetrainInput, input)]).toEqual([]);
    expect(input).toMatchObject({
      spec: { stormHours: 6, reason: { source: 'manual', causes: [] }, data: { mode: 'full', minimumRows: 1 } },
      champion: {
        version: 3,
        stage: 'prod',
        subject: { label: 'speeches/3', model: { name: 'speeches', version: 3 } },
      },
      lastRetrainAtMs: 500,
      submittedAtMs: 1_000,
      exclude: [{ name: 'held-out' }, { name: 'recent-speeches' }],
      comparison: { name: 'recent-speeches' },
    });
  });

  it('for a model that is new, with all rows', () => {
    expect(inputOf('retrain', retrain(), without({ champion: null }))).toMatchObject({ champion: null });
  });
});

describe('a retrain is refused, and the problem names the field, for', () => {
  it.each([
    ['the name of another model', retrain({ model: { name: 'letters' } }), '/spec/training/model/name'],
    [
      'a metric that the comparison does not measure',
      retrain({ comparison: { ...COMPARISON, metric: 'cloze.moby-dick.accuracy' } }),
      '/spec/comparison/metric',
    ],
    [
      'a suite twice',
      retrain({ comparison: { ...COMPARISON, suites: [...COMPARISON.suites, ...COMPARISON.suites] } }),
      '/spec/comparison/suites/1',
    ],
    [
      'preference accuracy, which needs pairs',
      retrain({ comparison: { ...COMPARISON, suites: [...COMPARISON.suites, { suite: 'preference_accuracy' }] } }),
      '/spec/comparison/suites/1',
    ],
    [
      'a training that cannot run',
      retrain({ training: { ...TRAINING, hyperparameters: { maxSteps: 1, learningRate: 1, sequenceLength: 65 } } }),
      '/spec/training/hyperparameters/sequenceLength',
    ],
    ['no release', retrain({ release: undefined }), '/spec/release'],
    [
      'a canary that may end before it may pass',
      retrain({ release: { promote: true, canary: { minimumHours: 25 } } }),
      '/spec/release/canary/minimumHours',
    ],
  ])('%s', (_what, spec, pointer) => {
    expect(refusals('retrain', spec, found)).toContain(pointer);
  });

  it('a comparison or an excluded set that is the training set, under whatever name', () => {
    const same = {
      found: true,
      dataset: { ...(dataset('copy') as { dataset: object }).dataset, sha256: 'sha of new-speeches' },
    };
    const copy = same as ReturnType<typeof dataset>;
    expect(refusals('retrain', retrain(), datasets({ comparison: copy }))).toEqual(['/spec/comparison/dataset']);
    expect(refusals('retrain', retrain(withExclude), datasets({ 'exclude/0': copy }))).toEqual([
      '/spec/data/exclude/0',
    ]);
  });

  it('sets that do not exist or hold pairs of preference', () => {
    expect(
      refusals('retrain', retrain(withExclude), datasets({ comparison: absentDataset, 'exclude/0': absentDataset })),
    ).toEqual(['/spec/comparison/dataset/name', '/spec/data/exclude/0/name']);
    const pairs = dataset('pairs', 'jsonl_preferences');
    expect(refusals('retrain', retrain(), datasets({ training: pairs }))).toEqual(['/spec/training/dataset']);
  });

  it('incremental data of a model that has no version', () => {
    expect(refusals('retrain', retrain({ data: { mode: 'incremental' } }), without({ champion: null }))).toEqual([
      '/spec/data/mode',
    ]);
    expect(refusals('retrain', retrain({ data: { mode: 'incremental' } }), found)).toEqual([]);
  });

  it('a version in production that cannot be loaded', () => {
    const unusable = { ...champion, finding: { kind: 'unusable', reason: 'r' } as const };
    expect(refusals('retrain', retrain(), without({ champion: unusable }))).toEqual(['/spec/model/name']);
  });
});

it('the estimate of a retrain grows with the comparison set, and is less without a champion', () => {
  const large = datasets({ comparison: dataset('recent-speeches', 'text', 1e9) });
  expect(secondsOf('retrain', retrain(), large)).toBeGreaterThan(secondsOf('retrain', retrain(), found));
  const alone = { ...large, champion: null };
  expect(secondsOf('retrain', retrain(), large)).toBeGreaterThan(secondsOf('retrain', retrain(), alone));
});
