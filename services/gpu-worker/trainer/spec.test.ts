import { expect, test } from 'vitest';
import { loraOf, parseTrainerSpec } from './spec.ts';
import { sftSpec } from './test-support/specs.ts';

test('settings left out get the defaults of the contract', () => {
  const spec = parseTrainerSpec({
    ...sftSpec('/work', '/data', { technique: 'lora', base: { kind: 'model', dir: '/base' } }),
    hyperparameters: { maxSteps: 10, learningRate: 0.01 },
    limits: {},
  });
  if (spec.method !== 'sft') throw new Error('another method');
  expect(spec.hyperparameters).toMatchObject({ maxSteps: 10, batchSize: 8, sequenceLength: 64, gradientClip: 1 });
  expect(spec.limits).toEqual({ maxMemoryMib: 0, threads: 1 });
  expect(loraOf(spec)).toEqual({ r: 8, alpha: 16, dropout: 0, targetModules: ['c_attn', 'c_proj', 'c_fc'] });
});

test('the input itself is not changed', () => {
  const input = { ...sftSpec('/work', '/data'), limits: {} };
  parseTrainerSpec(input);
  expect(input.limits).toEqual({});
});

test.each([
  ['no object', null, '/method'],
  ['a negative rank', { lora: { r: -1 } }, '/lora/r'],
  ['a relative model path', { base: { kind: 'model', dir: 'base' } }, '/base/dir'],
  ['a relative adapter path', { base: { kind: 'model', dir: '/base', adapterDir: 'a' } }, '/base/adapterDir'],
  ['a relative checkpoint', { resumeFrom: 'step-1' }, '/resumeFrom'],
  ['a seed beyond 32 bits', { seed: 2 ** 32 }, '/seed'],
])('%s is refused by its field', (_, change, pointer) => {
  const input = change === null ? null : { ...sftSpec('/work', '/data'), ...change };
  expect(() => parseTrainerSpec(input)).toThrow(
    expect.objectContaining({ code: 'TrainerBadConfig', message: expect.stringContaining(pointer) }),
  );
});
