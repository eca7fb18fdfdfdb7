import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mulberry32 } from '../kernel/random.ts';
import { bestTrial } from './best-trial.ts';
import { parameterImportance } from './importance.ts';
import { parallelCoordinates } from './parallel-coordinates.ts';
import { averageRanks, correlation } from './rank-correlation.ts';
import type { SearchSpace } from './search-space.ts';
import type { Trial } from './trial.ts';

const trial = (number: number, value: number | null, members: Partial<Trial> = {}): Trial => ({
  number,
  configuration: {},
  outcome: 'completed',
  value,
  lastReport: null,
  ...members,
});

describe('the best trial', () => {
  it('is the completed one with the best objective, the earlier one of equals', () => {
    const trials = [trial(3, 1), trial(1, 1), trial(2, 2), trial(0, 0, { outcome: 'pruned' })];
    expect(bestTrial(trials, 'minimize')?.number).toBe(1);
    expect(bestTrial(trials, 'maximize')?.number).toBe(2);
  });

  it('is none while no trial completed with a finite value', () => {
    expect(bestTrial([], 'minimize')).toBeNull();
    expect(
      bestTrial(
        [trial(0, null), trial(1, Number.NaN), trial(2, Infinity), trial(3, 1, { outcome: 'running' })],
        'maximize',
      ),
    ).toBeNull();
  });

  it('does not depend on the order of the trials', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1 }),
        fc.constantFrom('minimize', 'maximize'),
        (values, direction) => {
          const trials = values.map((value, number) => trial(number, value));
          const best = direction === 'minimize' ? Math.min(...values) : Math.max(...values);
          expect(bestTrial(trials, direction)?.number).toBe(values.indexOf(best));
          expect(bestTrial(trials.toReversed(), direction)?.number).toBe(values.indexOf(best));
        },
      ),
    );
  });
});

const SPACE: SearchSpace = {
  parameters: [
    { name: 'noise', type: 'float', min: 0, max: 1 },
    { name: 'rate', type: 'float', min: 1e-4, max: 1, log: true },
    { name: 'method', type: 'categorical', choices: ['full', 'lora'] },
    { name: 'rank', type: 'int', min: 1, max: 9, when: { parameter: 'method', equals: 'lora' } },
  ],
};

/** objective = -log10(rate), 0.5 more with `lora`, a little less per rank. */
function sweep(seed: number, trials: number): Trial[] {
  const random = mulberry32(seed);
  return Array.from({ length: trials }, (_, number) => {
    const rate = 10 ** (-4 * random.next());
    const noise = random.next();
    const isLora = random.next() < 0.5;
    const rank = 1 + Math.floor(9 * random.next());
    const value = -Math.log10(rate) + (isLora ? 0.5 - 0.1 * rank : 0) + 0.1 * random.next();
    const configuration = { noise, rate, method: isLora ? 'lora' : 'full', ...(isLora ? { rank } : {}) };
    return trial(number, value, { configuration });
  });
}

describe('parameter importance', () => {
  it('is large for what drives the objective and near 0 for what does not, over 20 seeds', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const [first, ...others] = parameterImportance(SPACE, sweep(seed, 100));
      expect(first?.parameter, `seed ${seed}`).toBe('rate');
      expect(first?.varianceExplained, `seed ${seed}`).toBeGreaterThan(0.8);
      expect(first?.rankCorrelation, `seed ${seed}`).toBeLessThan(-0.9);
      for (const { varianceExplained } of others) expect(varianceExplained, `seed ${seed}`).toBeLessThan(0.25);
    }
  });

  it('of a parameter without influence is 0 on average, not what chance gives to its bins', () => {
    const shares = Array.from({ length: 50 }, (_, seed) => {
      const importance = parameterImportance(SPACE, sweep(seed + 1, 30)).find(({ parameter }) => parameter === 'noise');
      return importance?.varianceExplained ?? Number.NaN;
    });
    expect(shares.reduce((a, b) => a + b, 0) / shares.length).toBeLessThan(0.06);
  });

  it('has the value of a worked example', () => {
    // Groups 1, 2, 3 and 5, 6, 7: within 4, total 28, n 6, k 2: 1 - (4 / 4) / (28 / 5).
    const values = [1, 2, 3, 5, 6, 7];
    const trials = values.map((value, i) =>
      trial(i, value, { configuration: { noise: 0.5, rate: 1, method: i < 3 ? 'full' : 'lora' } }),
    );
    const importance = parameterImportance(SPACE, trials).find(({ parameter }) => parameter === 'method');
    expect(importance).toMatchObject({ rankCorrelation: null, trials: 6 });
    expect(importance?.varianceExplained).toBeCloseTo(1 - 5 / 28, 12);
  });

  it('sees that a parameter is inactive as a group of its own', () => {
    const trials = sweep(1, 60).map((each) =>
      trial(each.number, each.configuration['rank'] === undefined ? 0 : 1, { configuration: each.configuration }),
    );
    const [method, rank] = ['method', 'rank'].map((name) =>
      parameterImportance(SPACE, trials).find(({ parameter }) => parameter === name),
    );
    expect(method?.varianceExplained).toBe(1);
    expect(rank?.varianceExplained).toBe(1);
    expect(rank?.rankCorrelation).toBeNull();
  });

  it('says null for too few trials, 0 for an objective that never changes; only completed trials count', () => {
    expect(parameterImportance(SPACE, []).map(({ varianceExplained }) => varianceExplained)).toEqual([
      null,
      null,
      null,
      null,
    ]);
    const constant = sweep(1, 20).map(({ configuration }, i) => trial(i, 1, { configuration }));
    expect(parameterImportance(SPACE, constant).map((each) => [each.varianceExplained, each.rankCorrelation])).toEqual(
      Array.from({ length: 4 }, () => [0, null]),
    );
    const over = sweep(1, 20);
    const others = sweep(2, 20).map((each) => ({ ...each, outcome: 'pruned' as const }));
    expect(parameterImportance(SPACE, [...over, ...others])).toEqual(parameterImportance(SPACE, over));
  });
});

it('ranks and their correlation are those of the books', () => {
  expect(averageRanks([10, 30, 20, 20])).toEqual([1, 4, 2.5, 2.5]);
  // scipy.stats.spearmanr([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]).statistic
  expect(correlation(averageRanks([1, 2, 3, 4, 5]), averageRanks([5, 6, 7, 8, 7]))).toBeCloseTo(0.8207826816681233, 12);
  expect(correlation([1, 2, 3], [1, 2, 3])).toBeNull();
});

describe('parallel coordinates', () => {
  it('place every value between the ends of its axis, the better objective at the upper end', () => {
    const trials = [
      trial(1, 2, { configuration: { noise: 0.25, rate: 1e-2, method: 'lora', rank: 5 } }),
      trial(0, 4, { configuration: { noise: 1, rate: 1, method: 'full' } }),
      trial(2, null, { configuration: { noise: 0, rate: 1e-4, method: 'full' }, outcome: 'running' }),
    ];
    const { axes, lines } = parallelCoordinates(SPACE, trials, 'minimize');
    expect(axes.map(({ name, scale }) => `${name} ${scale}`)).toEqual([
      'noise linear',
      'rate log',
      'method choices',
      'rank linear',
      'objective linear',
    ]);
    expect(axes.at(-1)).toMatchObject({ min: 4, max: 2 });
    expect(lines.map((line) => line.trial)).toEqual([0, 1, 2]);
    expect(lines.map((line) => line.positions)).toEqual([
      [1, 1, 0, null, 0],
      [0.25, 0.5, 1, 0.5, 1],
      [0, 0, 0, null, null],
    ]);
    expect(parallelCoordinates(SPACE, trials, 'maximize').lines[0]?.positions.at(-1)).toBe(1);
  });

  it('have no objective axis before a trial has an objective, and the middle where an axis has one value', () => {
    const fixed: SearchSpace = { parameters: [{ name: 'x', type: 'int', min: 3, max: 3 }] };
    const picture = parallelCoordinates(
      fixed,
      [trial(0, null, { configuration: { x: 3 }, outcome: 'failed' })],
      'minimize',
    );
    expect(picture.axes.map(({ name }) => name)).toEqual(['x']);
    expect(picture.lines[0]?.positions).toEqual([0.5]);
  });
});
