import { describe, expect, test } from 'vitest';
import { DpoSpec, PpoSpec, RewardSpec } from '#lib/contracts/trainer-protocol.ts';
import { Value } from '#typebox/value';
import { alignmentSettings, alignmentSpec, rewardSpec } from './alignment-spec.ts';

const OPTIMISER = {
  sequenceLength: 32,
  learningRate: 0.001,
  warmupSteps: 0,
  minLearningRateRatio: 0.1,
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.99,
  gradientClip: 1,
  checkpointEverySteps: 10,
  evaluateEverySteps: 10,
};
const PAIRS = { ...OPTIMISER, maxSteps: 10, batchSize: 8, gradientAccumulationSteps: 1, validationPairs: 8 };
const DPO = { ...PAIRS, beta: 0.1 };
const PPO = {
  ...OPTIMISER,
  rounds: 1,
  batchSize: 8,
  numMiniBatches: 2,
  numPpoEpochs: 1,
  responseLength: 8,
  temperature: 1,
  klCoef: 0.05,
  cliprange: 0.2,
  cliprangeValue: 0.2,
  vfCoef: 0.1,
  gamma: 1,
  lam: 0.95,
  validationPrompts: 8,
};
const STORED = { manifestKey: 'm', digest: 'd' };
const BASE = { name: 'base', version: 1, weights: STORED };
const LORA = { r: 4, alpha: 8, dropout: 0, targetModules: ['c_attn' as const] };
const FOLDERS = {
  base: { kind: 'model' as const, dir: '/base' },
  dataDir: '/data',
  outputDir: '/out',
  checkpointDir: '/checkpoints',
  limits: { maxMemoryMib: 0, threads: 1 },
};

type Input = Parameters<typeof alignmentSettings>[0];

/** An accepted dpo with these changes; undefined takes a member away. */
function settings(change: { readonly [K in keyof Input]?: Input[K] | undefined }) {
  const all = { algorithm: 'dpo', technique: 'full', dpo: DPO, base: BASE, seed: 1, ...change };
  return alignmentSettings(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Input);
}

describe('an alignment is refused', () => {
  test.each([
    ['dpo with a reward model', { rewardModel: STORED }, 'dpo takes no reward model'],
    ['dpo without settings', { dpo: undefined }, 'the settings of dpo are missing'],
    ['dpo with settings of ppo', { ppo: PPO }, 'dpo takes no settings of ppo'],
    ['ppo without a reward model', { algorithm: 'ppo', dpo: undefined, ppo: PPO }, 'ppo needs a reward model'],
    ['ppo with settings of dpo', { algorithm: 'ppo', ppo: PPO, rewardModel: STORED }, 'ppo takes no settings of dpo'],
    [
      'ppo without settings',
      { algorithm: 'ppo', dpo: undefined, rewardModel: STORED },
      'the settings of ppo are missing',
    ],
    [
      'an adapter on an adapter',
      { technique: 'lora', base: { ...BASE, adapter: STORED } },
      'lora on base/1: an adapter lies on a model of full weights',
    ],
  ] as const)('%s', (_, change, reason) => {
    expect(settings(change)).toEqual({ ok: false, reason });
  });
});

describe('a spec that a trainer takes', () => {
  test('is made for dpo, with the adapter of a technique that has one', () => {
    const input = { algorithm: 'dpo', technique: 'lora', lora: LORA, dpo: DPO, base: BASE, seed: 3 } as const;
    const accepted = alignmentSettings(input);
    if (!accepted.ok) throw new Error(accepted.reason);
    const folders = { ...FOLDERS, rewardModelDir: '/reward', resumeFrom: '/resume' };
    const spec = alignmentSpec(input, accepted, folders);
    expect(Value.Check(DpoSpec, spec)).toBe(true);
    expect(spec).toMatchObject({ method: 'dpo', lora: LORA, seed: 3, resumeFrom: '/resume', hyperparameters: DPO });
    expect(alignmentSpec({ ...input, technique: 'full' }, accepted, folders)).not.toHaveProperty('lora');
  });

  test('is made for ppo, with its reward model', () => {
    const input = { algorithm: 'ppo', technique: 'full', ppo: PPO, rewardModel: STORED, base: BASE, seed: 3 } as const;
    const accepted = alignmentSettings(input);
    if (!accepted.ok) throw new Error(accepted.reason);
    const spec = alignmentSpec(input, accepted, { ...FOLDERS, rewardModelDir: '/reward' });
    expect(Value.Check(PpoSpec, spec)).toBe(true);
    expect(spec).toMatchObject({ method: 'ppo', rewardModelDir: '/reward' });
  });

  test('is made for a reward model', () => {
    const spec = rewardSpec({ settings: { pooling: 'last', hyperparameters: PAIRS }, seed: 4 }, FOLDERS);
    expect(Value.Check(RewardSpec, spec)).toBe(true);
    expect(spec).toMatchObject({ method: 'reward', technique: 'full', pooling: 'last', seed: 4 });
  });
});
