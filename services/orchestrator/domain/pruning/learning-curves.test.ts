import { describe, expect, it } from 'vitest';
import type { PruningSettings } from '#lib/search-space/pruning-settings.ts';
import { learningCurves, runSweep } from '../../../../test/support/learning-curves.ts';
import type { PruningState } from './pruning.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const LIVE: PruningSettings = {
  strategy: 'livePercentile',
  drop: 0.25,
  warmUpSteps: 5,
  everySteps: 5,
  minimumTrials: 4,
};
const ASHA: PruningSettings = { strategy: 'asha', minimumSteps: 5, reductionFactor: 3 };
const MEDIAN: PruningSettings = {
  strategy: 'median',
  warmUpSteps: 0,
  everySteps: 1,
  startupTrials: 5,
  minimumPeers: 1,
};
const sweep = (settings: PruningSettings, seed: number, between?: (state: PruningState) => PruningState) =>
  runSweep({ settings, direction: 'minimize' }, learningCurves(seed, 64, 50), seed, between);

describe('64 of 64 trials running, 50 steps (bench/pruning.ts has more)', () => {
  it.each(SEEDS)('livePercentile saves at least 40 %% and keeps the best configuration, seed %d', (seed) => {
    const { savedFraction, regret } = sweep(LIVE, seed);
    expect(savedFraction).toBeGreaterThan(0.4);
    expect(regret).toBe(0);
  });

  it.each(SEEDS)('asha saves at least 60 %% and loses little, seed %d', (seed) => {
    const { savedFraction, regret } = sweep(ASHA, seed);
    expect(savedFraction).toBeGreaterThan(0.6);
    expect(regret).toBeLessThan(0.02);
  });

  it('median saves nothing: no trial is complete while one could be pruned', () => {
    for (const seed of SEEDS) expect(sweep(MEDIAN, seed).savedFraction).toBe(0);
  });

  it('twenty crashes change no decision', () => {
    for (const settings of [LIVE, ASHA]) {
      let events = 0;
      const crashing = sweep(settings, 3, (state) =>
        events++ % 50 === 0 ? (JSON.parse(JSON.stringify(state)) as PruningState) : state,
      );
      expect(events).toBeGreaterThan(20 * 25);
      expect(crashing).toEqual(sweep(settings, 3));
    }
  });

  it('the same with a metric to maximise', () => {
    const down = sweep(LIVE, 1);
    const up = runSweep({ settings: LIVE, direction: 'maximize' }, learningCurves(1, 64, 50), 1);
    expect(up.pruned).toEqual(down.pruned);
  });
});
