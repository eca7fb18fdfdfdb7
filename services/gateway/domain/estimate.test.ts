import { describe, expect, it } from 'vitest';
import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import { budgetRefusal, gpuSecondsFree } from './budget.ts';
import { estimateFineTuneGpuSeconds, weightsOf } from './estimate.ts';
import { parseSubmission } from './submission.ts';

const SHAPE = { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64, vocabularySize: 1024 };

function estimate(hyper: Record<string, unknown>, method = 'full', shape: typeof SHAPE | null = SHAPE): number {
  const spec = {
    dataset: { name: 'd' },
    base: { model: 'b/1' },
    method,
    model: { name: 'm' },
    hyperparameters: { maxSteps: 1_000, learningRate: 1, ...hyper },
    evaluation: { suites: [{ suite: 'held_out_text' }] },
  };
  const parsed = parseSubmission({ type: 'fine_tune', idempotencyKey: 'k', spec }, undefined, false);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fields));
  return estimateFineTuneGpuSeconds(parsed.submission.spec as FineTuneSpec, shape, { gflops: 20 });
}

describe('the estimate of a fine-tuning job', () => {
  it('counts the weights of the model of the trainer facts: 170 thousand', () => {
    expect(weightsOf(SHAPE)).toBe(167_936);
  });

  it('is the formula: 3,600 steps of that model are about a minute and a half on the simulated slot', () => {
    // 6 x 167,936 x 3,600 x 8 x 64 = 1.857e12; validation 2 x 167,936 x 8,192 x 37 = 1.018e11; / 2e10 = 97.96.
    expect(estimate({ maxSteps: 3_600 })).toBe(10 + 98);
  });

  it('grows with steps, batch, accumulation and model, and is smaller for adapters', () => {
    const one = estimate({ maxSteps: 10_000 });
    expect(estimate({ maxSteps: 20_000 })).toBeGreaterThan(1.9 * one - 20);
    expect(estimate({ maxSteps: 10_000, batchSize: 16 })).toBeGreaterThan(one);
    expect(estimate({ maxSteps: 10_000, gradientAccumulationSteps: 2 })).toBeGreaterThan(one);
    expect(estimate({ maxSteps: 10_000 }, 'lora')).toBeLessThan(one);
    expect(estimate({}, 'full', null)).toBeGreaterThan(estimate({}));
  });
});

describe('the budget', () => {
  const budget = { gpuSecondsBudget: 100, gpuSecondsReserved: 30, gpuSecondsUsed: 20 };
  it('takes a job up to what is neither used nor reserved', () => {
    expect(gpuSecondsFree(budget)).toBe(50);
    expect(budgetRefusal(budget, 50)).toBeNull();
    expect(budgetRefusal(budget, 51)).toBe('the job is estimated at 51 GPU seconds; 50 of 100 are free');
  });
  it('is never less than nothing, when it was lowered below what is used', () => {
    expect(gpuSecondsFree({ ...budget, gpuSecondsBudget: 10 })).toBe(0);
  });
});
