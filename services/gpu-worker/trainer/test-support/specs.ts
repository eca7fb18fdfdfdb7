import { join } from 'node:path';
import type { SftSpec, TrainingHyperparameters } from '#lib/contracts/trainer-protocol.ts';

/** A model that trains 200 steps in about a second. */
export const TINY = { layers: 1, heads: 2, embeddingSize: 32, contextLength: 32 } as const;

type SftOverrides = Partial<Omit<SftSpec, 'hyperparameters'>> & { hyperparameters?: Partial<TrainingHyperparameters> };

/** A small full-training spec whose folders lie below `folder`; `hyperparameters` are merged, everything else replaced. */
export function sftSpec(folder: string, dataDir: string, overrides: SftOverrides = {}): SftSpec {
  return {
    protocol: 'trainyard-trainer/1',
    method: 'sft',
    technique: 'full',
    base: { kind: 'config', config: TINY },
    dataDir,
    outputDir: join(folder, 'output'),
    checkpointDir: join(folder, 'checkpoints'),
    seed: 1,
    limits: { maxMemoryMib: 0, threads: 1 },
    ...overrides,
    hyperparameters: {
      maxSteps: 40,
      batchSize: 8,
      sequenceLength: 32,
      gradientAccumulationSteps: 1,
      learningRate: 8e-3,
      warmupSteps: 10,
      minLearningRateRatio: 0.1,
      weightDecay: 0.1,
      beta1: 0.9,
      beta2: 0.99,
      gradientClip: 1,
      initStd: 0.06,
      checkpointEverySteps: 1000,
      evaluateEverySteps: 10,
      validationTokens: 512,
      ...overrides.hyperparameters,
    },
  };
}
