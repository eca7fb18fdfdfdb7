import type { FineTuneSpec } from '#lib/contracts/jobs.ts';

export const PROJECT = 'demo';
export const BASE_MODEL = 'demo-base';
const FINE_TUNED_MODEL = 'demo-whaler';

/** Corpora that the repository ships; the name of the file is the name of the dataset. */
export const BASE_CORPUS = { dataset: 'state-of-the-union', title: 'State of the Union' } as const;
export const NEW_CORPUS = { dataset: 'moby-dick', title: 'Moby-Dick' } as const;

/** Optimiser steps of the two trainings; the seconds follow from the machine. */
export interface DemoBudget {
  readonly baseSteps: number;
  readonly loraSteps: number;
}

/** 3,500 steps are 43 s of one core of an EPYC (Zen 3), 600 with an adapter 8 s (2026-11-24). */
export const DEFAULT_BUDGET: DemoBudget = { baseSteps: 3_500, loraSteps: 600 };

/** The submissions, without idempotency key, in the order in which they run. */
export function demoJobs(budget: DemoBudget): readonly [DemoJob, DemoJob] {
  return [
    { title: 'full training from random weights', type: 'fine_tune', spec: baseSpec(budget.baseSteps) },
    {
      title: `LoRA of ${BASE_MODEL}@dev on ${NEW_CORPUS.title}`,
      type: 'fine_tune',
      spec: loraSpec(budget.loraSteps),
    },
  ];
}

interface DemoJob {
  readonly title: string;
  readonly type: 'fine_tune';
  readonly spec: DemoSpec;
}

/** As a client writes it: what has a default may be left out. */
type DemoSpec = Pick<FineTuneSpec, 'base' | 'method'> & { readonly [member: string]: unknown };

/** 170,000 parameters with the tokenizer's 1,024 tokens; settings from docs/trainer-protocol.md's defaults but for the learning rate. */
function baseSpec(maxSteps: number): DemoSpec {
  return {
    dataset: { name: BASE_CORPUS.dataset },
    base: { config: { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 } },
    method: 'full',
    model: { name: BASE_MODEL },
    preprocessing: { vocabularySize: 1_024 },
    hyperparameters: {
      maxSteps,
      batchSize: 8,
      sequenceLength: 64,
      learningRate: 0.008,
      checkpointEverySteps: Math.max(1, Math.floor(maxSteps / 7)),
      evaluateEverySteps: Math.max(1, Math.floor(maxSteps / 14)),
    },
    evaluation: { suites: [{ suite: 'held_out_text' }], samples: 3 },
  };
}

/** The policy lets only a model pass that predicts the new corpus better than its base. */
function loraSpec(maxSteps: number): DemoSpec {
  return {
    dataset: { name: NEW_CORPUS.dataset },
    base: { model: `${BASE_MODEL}@dev` },
    method: 'lora',
    lora: { r: 8, alpha: 16 },
    model: { name: FINE_TUNED_MODEL },
    hyperparameters: {
      maxSteps,
      batchSize: 8,
      sequenceLength: 64,
      learningRate: 0.004,
      checkpointEverySteps: Math.max(1, Math.floor(maxSteps / 4)),
      evaluateEverySteps: Math.max(1, Math.floor(maxSteps / 12)),
    },
    evaluation: {
      suites: [{ suite: 'held_out_text' }],
      policy: [{ metric: 'held_out.bits_per_byte', operator: '<', threshold: 0, relativeTo: 'base' }],
      samples: 3,
    },
  };
}
