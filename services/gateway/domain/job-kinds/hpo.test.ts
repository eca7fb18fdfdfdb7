import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { HpoInput } from '#lib/contracts/hpo-job.ts';
import { absentDataset, dataset, findings, inputOf, model, refusals, secondsOf } from './job-kind-harness.ts';

const found = findings({ datasets: { training: dataset('corpus') } });
const onModel = findings({ datasets: { training: dataset('corpus') }, models: { base: model('base', 1) } });

const TRIAL = {
  dataset: { name: 'corpus' },
  base: { config: { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64 } },
  method: 'full',
  model: { name: 'result' },
  hyperparameters: { maxSteps: 100, learningRate: 0.01 },
  evaluation: { suites: [{ suite: 'held_out_text' }] },
};
const RATE = { name: 'learningRate', type: 'float', min: 0.001, max: 1, log: true };
const LORA = { ...TRIAL, base: { model: 'base/1' }, method: 'lora' };

function search(change: Record<string, unknown> = {}, parameters: unknown[] = [RATE], trial: object = TRIAL) {
  return {
    trial,
    space: { parameters },
    sampler: { type: 'random' },
    objective: { metric: 'validation.loss', direction: 'minimize' },
    pruning: { strategy: 'livePercentile' },
    trials: 16,
    maxConcurrent: 4,
    ...change,
  };
}
const withHyper = (hyper: object) => ({ ...TRIAL, hyperparameters: { ...TRIAL.hyperparameters, ...hyper } });
const int = (name: string, min: number, max: number) => ({ name, type: 'int', min, max });
const choices = (name: string, ...values: unknown[]) => ({ name, type: 'categorical', choices: values });

describe('a search is accepted', () => {
  it.each([
    ['with one parameter', search()],
    ['with a grid that has more points than trials', search({ sampler: { type: 'grid' } }, [int('seed', 1, 100)])],
    [
      'with pruning on train.loss where validation is only at the end',
      search(
        { objective: { metric: 'train.loss', direction: 'minimize' } },
        [RATE],
        withHyper({ evaluateEverySteps: 0 }),
      ),
    ],
    [
      'without pruning where validation is only at the end',
      search({ pruning: { strategy: 'none' } }, [RATE], withHyper({ evaluateEverySteps: 0 })),
    ],
  ])('%s', (_what, spec) => {
    expect(refusals('hpo', spec, found)).toEqual([]);
  });

  it('with adapter settings that exist only for some methods', () => {
    const parameters = [
      choices('method', 'full', 'lora'),
      { ...int('lora.r', 1, 32), when: { parameter: 'method', equals: 'lora' } },
    ];
    expect(refusals('hpo', search({}, parameters, { ...LORA, method: 'full' }), onModel)).toEqual([]);
  });

  it('with an edge that a constraint leaves out', () => {
    const space = {
      parameters: [int('sequenceLength', 8, 128)],
      constraints: [{ left: { parameter: 'sequenceLength' }, operator: '<=', right: 64 }],
    };
    expect(refusals('hpo', search({ space }), found)).toEqual([]);
  });
});

describe('a search is refused, and the problem names the field, for', () => {
  it.each([
    ['an empty space', search({}, []), '/spec/space/parameters'],
    ['no trials', search({ trials: 0 }), '/spec/trials'],
    ['an unknown sampler', search({ sampler: { type: 'magic' } }), '/spec/sampler/type'],
    ['an unknown pruning strategy', search({ pruning: { strategy: 'hope' } }), '/spec/pruning/strategy'],
    ['a minimum above the maximum', search({}, [{ ...RATE, min: 2 }]), '/spec/space/parameters/0/min'],
    [
      'constraints that contradict each other',
      search({
        space: {
          parameters: [int('batchSize', 1, 8)],
          constraints: [{ left: { parameter: 'batchSize' }, operator: '>', right: 8 }],
        },
      }),
      '/spec/space/constraints/0',
    ],
    ['a continuous parameter in a grid', search({ sampler: { type: 'grid' } }), '/spec/space/parameters/0'],
    [
      'a name that is no hyperparameter',
      search({}, [{ ...RATE, name: 'lerningRate' }]),
      '/spec/space/parameters/0/name',
    ],
    [
      'a list of target modules',
      search({}, [choices('lora.targetModules', 'c_attn')], LORA),
      '/spec/space/parameters/0/name',
    ],
    [
      'a float where a whole number belongs',
      search({}, [{ ...RATE, name: 'batchSize' }]),
      '/spec/space/parameters/0/type',
    ],
    ['a value above the range of the schema', search({}, [{ ...RATE, max: 11 }]), '/spec/space/parameters/0/max'],
    ['a value below the range of the schema', search({}, [int('batchSize', 0, 8)]), '/spec/space/parameters/0/min'],
    [
      'a choice that the schema does not take',
      search({}, [choices('method', 'full', 'prayer')]),
      '/spec/space/parameters/0/choices/1',
    ],
    [
      'a metric that is never reported',
      search({ objective: { metric: 'accuracy', direction: 'maximize' } }),
      '/spec/objective/metric',
    ],
    [
      'pruning where nothing is reported in time',
      search({}, [RATE], withHyper({ evaluateEverySteps: 0 })),
      '/spec/trial/hyperparameters/evaluateEverySteps',
    ],
    [
      'pruning where some trials report nothing in time',
      search({}, [choices('evaluateEverySteps', 10, 0)]),
      '/spec/space/parameters/0/choices/1',
    ],
    [
      'an edge that breaks a rule of fine-tuning',
      search({}, [int('sequenceLength', 8, 65)]),
      '/spec/space/parameters/0/max',
    ],
    [
      'steps and checkpoints that break a rule together',
      search({}, [int('maxSteps', 10, 1_000_000), int('checkpointEverySteps', 10, 1_000)], TRIAL),
      '/spec/space/parameters/1/min',
    ],
    [
      'a method without the base it needs',
      search({}, [choices('method', 'full', 'lora')]),
      '/spec/space/parameters/0/choices/1',
    ],
    [
      'adapter settings where no trial has an adapter',
      search({}, [int('lora.r', 1, 8)]),
      '/spec/space/parameters/0/name',
    ],
    [
      'a trial that cannot run',
      search({}, [RATE], withHyper({ sequenceLength: 65 })),
      '/spec/trial/hyperparameters/sequenceLength',
    ],
    [
      'a trial that does not match its schema',
      search({}, [RATE], withHyper({ maxSteps: 0 })),
      '/spec/trial/hyperparameters/maxSteps',
    ],
    ['a canary that leads nowhere', search({ release: { canary: {} } }), '/spec/release/canary'],
    [
      'a canary weight above 100 percent',
      search({ release: { promote: true, canary: { weightPercent: 101 } } }),
      '/spec/release/canary/weightPercent',
    ],
  ])('%s', (_what, spec, pointer) => {
    expect(refusals('hpo', spec, found)).toContain(pointer);
  });

  it('a rank above the width of the base, at the edge that has it', () => {
    expect(refusals('hpo', search({}, [int('lora.r', 1, 33)], LORA), onModel)).toEqual([
      '/spec/space/parameters/0/max',
    ]);
  });

  it('references that do not exist, and pairs of preference as training data', () => {
    const missing = findings({ datasets: { training: absentDataset } });
    expect(refusals('hpo', search({}, [RATE], LORA), missing)).toEqual([
      '/spec/trial/dataset/name',
      '/spec/trial/base/model',
    ]);
    const pairs = findings({ datasets: { training: dataset('pairs', 'jsonl_preferences') } });
    expect(refusals('hpo', search(), pairs)).toEqual(['/spec/trial/dataset']);
  });
});

describe('the input and the estimate of a search', () => {
  it('has the input of the contract, its trials with every default and marked as trials', () => {
    const input = inputOf('hpo', search({}, [RATE], LORA), {
      ...onModel,
      champion: { version: 4, stage: 'prod', finding: model('result', 4) },
    });
    expect([...Value.Errors(HpoInput, input)]).toEqual([]);
    expect(input).toMatchObject({
      champion: 4,
      trial: { purpose: 'trial', base: { kind: 'model', model: { name: 'base', version: 1 } } },
      spec: { trial: { lora: { r: 8 }, preprocessing: { vocabularySize: 1024 } }, seed: 1 },
    });
  });

  it('covers every trial as if it were the costliest, and no more trials than a grid has points', () => {
    const one = secondsOf('hpo', search({ trials: 1 }), found);
    const ten = secondsOf('hpo', search({ trials: 10 }), found);
    expect(ten - one).toBe(9 * (secondsOf('hpo', search({ trials: 2 }), found) - one));
    expect(secondsOf('hpo', search({}, [RATE, int('maxSteps', 10, 100_000)]), found)).toBeGreaterThan(
      secondsOf('hpo', search(), found),
    );
    const grid = { sampler: { type: 'grid' } };
    const three = secondsOf('hpo', search({ ...grid, trials: 3 }, [int('seed', 1, 3)]), found);
    expect(secondsOf('hpo', search({ ...grid, trials: 999 }, [int('seed', 1, 3)]), found)).toBe(three);
  });
});
