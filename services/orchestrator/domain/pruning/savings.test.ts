import { describe, expect, it } from 'vitest';
import { searchSavings, type TrialUsage } from './savings.ts';

const usage = (trial: number, outcome: TrialUsage['outcome'], steps: number, gpuSeconds: number): TrialUsage => ({
  trial,
  outcome,
  steps,
  plannedSteps: 100,
  gpuSeconds,
});

describe('the savings of a search', () => {
  it('are the steps that pruned trials never ran, at the pace of each', () => {
    expect(
      searchSavings([usage(0, 'completed', 100, 50), usage(1, 'pruned', 20, 40), usage(2, 'pruned', 50, 5)]),
    ).toEqual({
      stepsRun: 170,
      stepsSaved: 130,
      savedFraction: 130 / 300,
      gpuSecondsUsed: 95,
      gpuSecondsSaved: 160 + 5,
    });
  });

  it('do not count failed and cancelled trials, nor steps beyond the plan', () => {
    const trials = [usage(0, 'failed', 10, 10), usage(1, 'cancelled', 10, 10), usage(2, 'pruned', 120, 10)];
    expect(searchSavings(trials)).toMatchObject({ stepsSaved: 0, savedFraction: 0, gpuSecondsSaved: 0 });
  });

  it('take the pace of all for a trial that never ran a step', () => {
    expect(searchSavings([usage(0, 'completed', 100, 200), usage(1, 'pruned', 0, 0)]).gpuSecondsSaved).toBe(200);
    expect(searchSavings([usage(0, 'pruned', 0, 0)])).toMatchObject({
      stepsSaved: 100,
      savedFraction: 1,
      gpuSecondsSaved: 0,
    });
  });

  it('of nothing are 0', () => {
    expect(searchSavings([])).toEqual({
      stepsRun: 0,
      stepsSaved: 0,
      savedFraction: 0,
      gpuSecondsUsed: 0,
      gpuSecondsSaved: 0,
    });
  });
});
