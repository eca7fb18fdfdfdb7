import { expect, it } from 'vitest';
import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import { trialSpec } from '#lib/contracts/trial-spec.ts';
import type { SearchSpace } from '#lib/search-space/search-space.ts';
import { configurationOf } from './trial-configuration.ts';

const trial = {
  method: 'full',
  seed: 1,
  hyperparameters: { learningRate: 0.1, maxSteps: 5 },
} as unknown as FineTuneSpec;
const space: SearchSpace = {
  parameters: [
    { name: 'lora.r', type: 'int', min: 1, max: 8, when: { parameter: 'method', equals: 'lora' } },
    { name: 'method', type: 'categorical', choices: ['full', 'lora'] },
    { name: 'learningRate', type: 'float', min: 0, max: 1 },
    { name: 'seed', type: 'int', min: 1, max: 9 },
  ],
};

it.each([
  [{ 'lora.r': 4, method: 'lora', learningRate: 0.5, seed: 3 }],
  [{ method: 'full', learningRate: 0.25, seed: 2 }],
])('the configuration of a trial is read back from its spec: %j', (configuration) => {
  expect(configurationOf(space, trialSpec(trial, configuration))).toEqual(configuration);
});
