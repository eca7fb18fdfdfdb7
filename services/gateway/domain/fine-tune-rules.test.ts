import { describe, expect, it } from 'vitest';
import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import type { DatasetFinding } from './findings.ts';
import { type BaseFinding, checkFineTune } from './fine-tune-rules.ts';
import { parseSubmission } from './submission.ts';

const CONFIG = { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64 };
const SHAPE = { ...CONFIG, vocabularySize: 512 };
const dataset: DatasetFinding = {
  found: true,
  dataset: { name: 'corpus', version: 1, format: 'text', key: 'k', sha256: 's', bytes: 1 },
};
const weights = { manifestKey: 'm', digest: 'd' };
const onConfig: BaseFinding = { kind: 'config' };
const onModel: BaseFinding = { kind: 'model', model: { name: 'base', version: 1, weights }, architecture: SHAPE };
const onAdapter: BaseFinding = {
  kind: 'model',
  model: { name: 'base', version: 2, weights, adapter: weights },
  architecture: SHAPE,
};

/** A spec with its defaults; members of `change` replace those on the first level. */
function spec(change: Record<string, unknown> = {}): FineTuneSpec {
  const given = {
    dataset: { name: 'corpus' },
    base: { config: CONFIG },
    method: 'full',
    model: { name: 'result' },
    hyperparameters: { maxSteps: 100, learningRate: 0.01 },
    evaluation: { suites: [{ suite: 'held_out_text' }] },
    ...change,
  };
  const parsed = parseSubmission({ type: 'fine_tune', idempotencyKey: 'k', spec: given }, undefined, false);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fields));
  return parsed.submission.spec as FineTuneSpec;
}
const lora = (change: Record<string, unknown> = {}) => spec({ base: { model: 'base/1' }, method: 'lora', ...change });
const pointers = (given: FineTuneSpec, base: BaseFinding, data: DatasetFinding = dataset): string[] =>
  checkFineTune(given, { dataset: data, base }).map((error) => error.pointer);

describe('checkFineTune', () => {
  it.each([
    ['full training of a config', spec(), onConfig],
    ['full training of a model', spec({ base: { model: 'base/1' } }), onModel],
    ['full training of an adapter on its base', spec({ base: { model: 'base/2' } }), onAdapter],
    ['lora of a model', lora(), onModel],
    ['qlora of a model', lora({ method: 'qlora' }), onModel],
  ] as [string, FineTuneSpec, BaseFinding][])('accepts %s', (_what, given, base) => {
    expect(pointers(given, base)).toEqual([]);
  });

  it('tells an absent dataset from an absent version', () => {
    expect(pointers(spec(), onConfig, { found: false, missing: 'name' })).toEqual(['/spec/dataset/name']);
    expect(pointers(spec(), onConfig, { found: false, missing: 'version' })).toEqual(['/spec/dataset/version']);
  });

  it('refuses an absent base, and one that cannot be loaded', () => {
    expect(pointers(lora(), { kind: 'absent' })).toEqual(['/spec/base/model']);
    expect(pointers(lora(), { kind: 'unusable', reason: 'r' })).toEqual(['/spec/base/model']);
  });

  it('refuses an adapter on an adapter, for lora and qlora', () => {
    for (const method of ['lora', 'qlora']) expect(pointers(lora({ method }), onAdapter)).toEqual(['/spec/base/model']);
  });

  it('takes the rank up to the width of the model, and no further', () => {
    expect(pointers(lora({ lora: { r: 32 } }), onModel)).toEqual([]);
    expect(pointers(lora({ lora: { r: 33 } }), onModel)).toEqual(['/spec/lora/r']);
  });

  it('leaves sizes to the trainer where the shape of the base is not recorded', () => {
    const unknown: BaseFinding = { kind: 'model', model: { name: 'base', version: 1, weights }, architecture: null };
    expect(pointers(lora({ lora: { r: 1024 } }), unknown)).toEqual([]);
  });

  it('takes sequences up to the context length, and no longer', () => {
    const steps = (sequenceLength: number) => ({ hyperparameters: { maxSteps: 1, learningRate: 1, sequenceLength } });
    expect(pointers(spec(steps(64)), onConfig)).toEqual([]);
    expect(pointers(spec(steps(65)), onConfig)).toEqual(['/spec/hyperparameters/sequenceLength']);
    expect(pointers(lora(steps(65)), onModel)).toEqual(['/spec/hyperparameters/sequenceLength']);
  });

  it('refuses an embedding that the heads do not divide', () => {
    const base = { config: { ...CONFIG, heads: 3 } };
    expect(pointers(spec({ base }), onConfig)).toEqual(['/spec/base/config/embeddingSize']);
  });

  it('lets a policy name only metrics of the chosen suites, and the base only where there is one', () => {
    const evaluation = (metric: string, relativeTo?: string) => ({
      evaluation: {
        suites: [{ suite: 'cloze', items: 'moby-dick' }],
        policy: [{ metric, operator: '>', threshold: 0, ...(relativeTo === undefined ? {} : { relativeTo }) }],
      },
    });
    const metric = 'cloze.moby-dick.accuracy';
    expect(pointers(spec(evaluation(metric)), onConfig)).toEqual([]);
    expect(pointers(spec(evaluation('cloze.state-of-the-union.accuracy')), onConfig)).toEqual([
      '/spec/evaluation/policy/0/metric',
    ]);
    expect(pointers(spec(evaluation(metric, 'base')), onConfig)).toEqual(['/spec/evaluation/policy/0/relativeTo']);
    expect(pointers(lora(evaluation(metric, 'base')), onModel)).toEqual([]);
  });

  it('bounds checkpoints and validations, and the characters of a document', () => {
    const hyper = (change: Record<string, unknown>) => ({
      hyperparameters: { maxSteps: 1e6, learningRate: 1, ...change },
    });
    expect(pointers(spec(hyper({ checkpointEverySteps: 99 })), onConfig)).toEqual([
      '/spec/hyperparameters/checkpointEverySteps',
    ]);
    expect(pointers(spec(hyper({ evaluateEverySteps: 1 })), onConfig)).toEqual([
      '/spec/hyperparameters/evaluateEverySteps',
    ]);
    const preprocessing = { minCharacters: 100, maxCharacters: 99 };
    expect(pointers(spec({ preprocessing }), onConfig)).toEqual(['/spec/preprocessing/maxCharacters']);
  });

  it('reports every broken rule at once', () => {
    const given = lora({ lora: { r: 99 }, hyperparameters: { maxSteps: 1, learningRate: 1, sequenceLength: 128 } });
    expect(pointers(given, onAdapter, { found: false, missing: 'name' })).toEqual([
      '/spec/dataset/name',
      '/spec/base/model',
      '/spec/hyperparameters/sequenceLength',
      '/spec/lora/r',
    ]);
  });
});
