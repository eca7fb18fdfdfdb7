import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Configuration } from './configuration.ts';
import { erfc, logNormalMass, truncatedNormalQuantile } from './normal-distribution.ts';
import { parzenEstimator } from './parzen-estimator.ts';
import { trialStream } from './random-sampler.ts';
import { nextConfiguration } from './sampler.ts';
import type { SamplerSettings } from './sampler-settings.ts';
import type { Parameter, SearchSpace } from './search-space.ts';
import type { Direction, Trial } from './trial.ts';
import { splitTrials } from './trial-split.ts';

const TPE: SamplerSettings = { type: 'tpe', startupTrials: 10, candidates: 24 };

interface DensityCase {
  readonly case: 'density';
  readonly parameters: Parameter[];
  readonly observations: number[][];
  readonly points: number[][];
  readonly logDensities: number[];
}
interface SplitCase {
  readonly case: 'split';
  readonly direction: Direction;
  readonly trials: {
    outcome: Trial['outcome'];
    value: number | null;
    last: { step: number; value: number | 'NaN' } | null;
  }[];
  readonly good: number[];
  readonly bad: number[];
}
interface QuantileCase {
  readonly case: 'quantile';
  /** a, b, q, log of the mass of [a, b], q-quantile. */
  readonly rows: [number, number, number, number, number][];
}

/** Made by `scripts/hpo/optuna_reference.py` with Optuna 5.0.0. */
const golden = readFileSync(join(import.meta.dirname, 'golden/optuna-tpe.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as DensityCase | SplitCase | QuantileCase);

describe('as Optuna 5.0.0', () => {
  it('the Parzen estimator has its densities, to 1e-9', () => {
    const cases = golden.filter((each) => each.case === 'density');
    expect(cases.length).toBeGreaterThan(50);
    for (const { parameters, observations, points, logDensities } of cases) {
      const estimator = parzenEstimator(parameters, observations);
      for (const [i, point] of points.entries()) {
        const expected = logDensities[i] as number;
        const slack = 1e-9 * Math.max(1, Math.abs(expected));
        expect(
          Math.abs(estimator.logDensity(point) - expected),
          `${parameters.map(({ name }) => name).join('+')} n=${observations.length} at ${point.join()}`,
        ).toBeLessThan(slack);
      }
    }
  });

  it('trials are split into good and bad ones', () => {
    const cases = golden.filter((each) => each.case === 'split');
    expect(cases.length).toBeGreaterThan(50);
    for (const { direction, trials, good, bad } of cases) {
      const history = trials.map<Trial>(({ outcome, value, last }, number) => ({
        number,
        configuration: {},
        outcome,
        value,
        lastReport: last === null ? null : { step: last.step, value: last.value === 'NaN' ? null : last.value },
      }));
      const split = splitTrials(history, direction);
      expect(split.good.map(({ number }) => number)).toEqual(good);
      expect(split.bad.map(({ number }) => number)).toEqual(bad);
    }
  });

  it('the cut-off normal distribution has its masses and quantiles, also far in the tails', () => {
    const rows = golden.filter((each) => each.case === 'quantile').flatMap((each) => each.rows);
    expect(rows.length).toBeGreaterThan(200);
    for (const [a, b, q, mass, quantile] of rows) {
      const slack = 1e-9 * Math.max(1, Math.abs(mass));
      expect(Math.abs(logNormalMass(a, b) - mass), `mass of [${a}, ${b}]`).toBeLessThan(slack);
      expect(Math.abs(truncatedNormalQuantile(q, a, b) - quantile), `quantile ${q} of [${a}, ${b}]`).toBeLessThan(
        1e-7 * Math.max(1, Math.abs(quantile)),
      );
    }
  });
});

it('the cut-off normal distribution of bounds that are no numbers is no number, at once', () => {
  expect(logNormalMass(NaN, NaN)).toBeNaN();
  expect(truncatedNormalQuantile(0.5, NaN, NaN)).toBeNaN();
});

it('erfc has the values of the tables', () => {
  // Abramowitz and Stegun, table 7.1; the last one: mpmath.
  for (const [x, expected] of [
    [-7, 2],
    [-1, 1.8427007929497148],
    [0, 1],
    [0.1, 0.8875370839817152],
    [0.5, 0.4795001221869535],
    [1, 0.15729920705028513],
    [2, 0.004677734981047266],
    [3, 2.209049699858544e-5],
    [5, 1.537459794428035e-12],
    [28, 0],
  ] as const)
    expect(Math.abs(erfc(x) - expected)).toBeLessThanOrEqual(1e-15 * expected);
});

it('draws follow the density that is computed for them', () => {
  const parameters: Parameter[] = [
    { name: 'int', type: 'int', min: 1, max: 6 },
    { name: 'choice', type: 'categorical', choices: ['a', 'b'] },
  ];
  const observed = [
    [2, 0],
    [2, 1],
    [5, 1],
  ];
  const estimator = parzenEstimator(parameters, observed);
  const random = trialStream(3, 0);
  const draws = 40_000;
  const counts = new Map<string, number>();
  for (let i = 0; i < draws; i++) {
    const key = estimator.draw(random).join();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  let total = 0;
  for (const int of [1, 2, 3, 4, 5, 6])
    for (const choice of [0, 1]) {
      const probability = Math.exp(estimator.logDensity([int, choice]));
      total += probability;
      const deviation = Math.sqrt((probability * (1 - probability)) / draws);
      expect(Math.abs((counts.get(`${int},${choice}`) ?? 0) / draws - probability)).toBeLessThan(5 * deviation);
    }
  expect(total).toBeCloseTo(1, 9);
});

describe('TPE finds better configurations than chance:', () => {
  const SEEDS = 30;
  const TRIALS = 60;
  const box: SearchSpace = {
    parameters: ['a', 'b', 'c', 'd'].map((name) => ({ name, type: 'float' as const, min: -5, max: 5 })),
  };
  const mixed: SearchSpace = {
    parameters: [
      { name: 'rate', type: 'float', min: 1e-5, max: 1, log: true },
      { name: 'layers', type: 'int', min: 1, max: 16 },
      { name: 'method', type: 'categorical', choices: ['full', 'lora', 'other'] },
      { name: 'rank', type: 'int', min: 1, max: 64, log: true, when: { parameter: 'method', equals: 'lora' } },
    ],
  };
  const sphere = (c: Configuration): number =>
    ['a', 'b', 'c', 'd'].reduce((sum, name) => sum + (Number(c[name]) - 1) ** 2, 0);
  const ellipsoid = (c: Configuration): number =>
    ['a', 'b', 'c', 'd'].reduce((sum, name, i) => sum + 10 ** i * (Number(c[name]) + 2) ** 2, 0);
  const training = (c: Configuration): number =>
    (Math.log10(Number(c['rate'])) + 3) ** 2 +
    ((Number(c['layers']) - 6) / 4) ** 2 +
    (c['method'] === 'lora' ? (Math.log2(Number(c['rank'])) - 4) ** 2 / 4 : c['method'] === 'full' ? 0.5 : 2);

  // Bounds: the median of the best losses after 60 trials over 30 seeds is at most this share of what random search finds.
  it.each<[string, SearchSpace, (c: Configuration) => number, number]>([
    ['a sphere', box, sphere, 0.5],
    ['an ellipsoid', box, ellipsoid, 0.5],
    ['rate, layers, method and a conditional rank', mixed, training, 0.5],
  ])('%s', (_, space, objective, share) => {
    const bestOf = (sampler: SamplerSettings, direction: Direction): number => {
      const sign = direction === 'minimize' ? 1 : -1;
      const losses = Array.from({ length: SEEDS }, (_, seed) => {
        const history: Trial[] = [];
        for (let number = 0; number < TRIALS; number++) {
          const next = nextConfiguration({ space, sampler, direction, history, seed, trialNumber: number });
          if (!next.ok) throw new Error(next.reason);
          const value = sign * objective(next.configuration);
          history.push({ number, configuration: next.configuration, outcome: 'completed', value, lastReport: null });
        }
        return Math.min(...history.map(({ value }) => sign * Number(value)));
      });
      return losses.sort((a, b) => a - b)[SEEDS / 2] as number;
    };
    const random = bestOf({ type: 'random' }, 'minimize');
    expect(bestOf(TPE, 'minimize')).toBeLessThan(share * random);
    expect(bestOf(TPE, 'maximize')).toBeLessThan(share * random);
  });
});

describe('TPE', () => {
  const space: SearchSpace = { parameters: [{ name: 'x', type: 'float', min: 0, max: 10 }] };
  const finished = (count: number): Trial[] =>
    Array.from({ length: count }, (_, number) => ({
      number,
      configuration: { x: (10 * number) / count },
      outcome: 'completed' as const,
      value: Math.abs((10 * number) / count - 7),
      lastReport: null,
    }));
  const ask = (history: readonly Trial[], trialNumber: number, of = space) => {
    const next = nextConfiguration({ space: of, sampler: TPE, direction: 'minimize', history, seed: 5, trialNumber });
    if (!next.ok) throw new Error(next.reason);
    return next.configuration;
  };

  it('is random search until ten trials have finished; failed and running ones do not count', () => {
    const history = [
      ...finished(9),
      { number: 9, configuration: { x: 7 }, outcome: 'running' as const, value: null, lastReport: null },
      { number: 10, configuration: { x: 7 }, outcome: 'failed' as const, value: null, lastReport: null },
      { number: 11, configuration: { x: 7 }, outcome: 'completed' as const, value: null, lastReport: null },
    ];
    const random = nextConfiguration({
      space,
      sampler: { type: 'random' },
      direction: 'minimize',
      history: [],
      seed: 5,
      trialNumber: 12,
    });
    expect(random).toEqual({ ok: true, configuration: ask(history, 12) });
    expect(ask(finished(10), 12)).not.toEqual(ask(history, 12));
  });

  it('does not try the same place again while trials run there', () => {
    const history = finished(20);
    const free = Array.from({ length: 40 }, (_, i) => Number(ask(history, 100 + i)['x']));
    const running = free.map((x, i) => ({
      number: 50 + i,
      configuration: { x },
      outcome: 'running' as const,
      value: null,
      lastReport: null,
    }));
    const crowded = Array.from({ length: 40 }, (_, i) => Number(ask([...history, ...running], 100 + i)['x']));
    const near = (values: readonly number[]): number => values.filter((x) => Math.abs(x - 7) < 1).length;
    expect(near(free)).toBeGreaterThan(30);
    expect(near(crowded)).toBeLessThan(near(free) / 2);
  });

  it('keeps constraints where the best region is forbidden', () => {
    const bounded: SearchSpace = {
      ...space,
      constraints: [{ left: { parameter: 'x' }, operator: '<=', right: 4 }],
    };
    for (let i = 0; i < 20; i++) expect(Number(ask(finished(30), 100 + i, bounded)['x'])).toBeLessThanOrEqual(4);
  });

  it('chooses nothing where there is nothing to choose', () => {
    const fixed: SearchSpace = { parameters: [{ name: 'x', type: 'int', min: 3, max: 3 }] };
    expect(ask(finished(20), 20, fixed)).toEqual({ x: 3 });
  });

  it('draws from a log range that is too narrow for two logarithms', () => {
    const min = 1.3474e-4;
    const narrow: SearchSpace = {
      parameters: [{ name: 'x', type: 'float', min, max: min * (1 + Number.EPSILON), log: true }],
    };
    expect(Math.log(min * (1 + Number.EPSILON))).toBe(Math.log(min));
    expect(min * (1 + Number.EPSILON)).toBeGreaterThan(min);
    const trials = finished(20).map((trial) => ({ ...trial, configuration: { x: min } }));
    expect(ask(trials, 20, narrow)).toEqual({ x: min });
  });

  it('ignores values that the space does not have', () => {
    const renamed: SearchSpace = { parameters: [{ name: 'x', type: 'categorical', choices: ['a', 'b'] }] };
    expect(['a', 'b']).toContain(ask(finished(20), 20, renamed)['x']);
  });
});
