import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { FineTuneSpec } from './jobs.ts';
import { trialSpec, tunableSchema } from './trial-spec.ts';

const trial = Value.Default(FineTuneSpec, {
  dataset: { name: 'corpus' },
  base: { model: 'base/1' },
  method: 'full',
  model: { name: 'result' },
  hyperparameters: { maxSteps: 100, learningRate: 0.01 },
  evaluation: { suites: [{ suite: 'held_out_text' }] },
}) as FineTuneSpec;

describe('the spec of a trial', () => {
  it('is the spec of the search with the values of the configuration, and matches the schema', () => {
    const spec = trialSpec(trial, { learningRate: 0.5, method: 'lora', 'lora.r': 4, seed: 7 });
    expect(spec).toEqual({
      ...trial,
      method: 'lora',
      seed: 7,
      lora: { r: 4, alpha: 16, dropout: 0, targetModules: ['c_attn', 'c_proj', 'c_fc'] },
      hyperparameters: { ...trial.hyperparameters, learningRate: 0.5 },
    });
    expect(Value.Check(FineTuneSpec, spec)).toBe(true);
    expect(trialSpec(trial, {})).toEqual(trial);
  });

  it('has settings of an adapter only when it trains one', () => {
    const adapted = {
      ...trial,
      method: 'qlora',
      lora: { r: 2, alpha: 4, dropout: 0, targetModules: ['c_fc'] },
    } as const;
    const base = adapted as unknown as FineTuneSpec;
    expect(trialSpec(base, { method: 'full' })).not.toHaveProperty('lora');
    expect(trialSpec(base, { 'lora.alpha': 8 }).lora).toEqual({ ...adapted.lora, alpha: 8 });
  });

  it('leaves the spec of the search as it is', () => {
    const before = structuredClone(trial);
    trialSpec(trial, { maxSteps: 1, method: 'lora', 'lora.r': 1 });
    expect(trial).toEqual(before);
  });
});

it('what may be tuned are single values that a fine-tuning has', () => {
  for (const name of ['learningRate', 'maxSteps', 'evaluateEverySteps', 'lora.r', 'lora.dropout', 'method', 'seed'])
    expect([name, tunableSchema(name) !== null]).toEqual([name, true]);
  for (const name of [
    'lerningRate',
    'lora.targetModules',
    'lora.rank',
    'lora',
    'model',
    'constructor',
    'lora.toString',
  ])
    expect([name, tunableSchema(name)]).toEqual([name, null]);
});
