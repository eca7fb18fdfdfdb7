import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkSearchSpace } from './check-search-space.ts';
import { isConfigurationOf } from './configuration.ts';
import { gridOf } from './grid.ts';
import { drawConfiguration, trialStream } from './random-sampler.ts';
import { nextConfiguration } from './sampler.ts';
import type { SamplerSettings } from './sampler-settings.ts';
import type { SearchSpace } from './search-space.ts';
import { searchSpaces } from './space-harness.ts';
import type { Trial } from './trial.ts';

const TPE: SamplerSettings = { type: 'tpe', startupTrials: 3, candidates: 8 };
const ask = (
  space: SearchSpace,
  sampler: SamplerSettings,
  trialNumber: number,
  history: readonly Trial[] = [],
  seed = 1,
) => nextConfiguration({ space, sampler, direction: 'minimize', history, seed, trialNumber });

const CONDITIONAL: SearchSpace = {
  parameters: [
    { name: 'rank', type: 'int', min: 4, max: 12, step: 4, when: { parameter: 'method', equals: 'lora' } },
    { name: 'method', type: 'categorical', choices: ['full', 'lora'] },
    { name: 'decay', type: 'float', min: 0, max: 0.2, step: 0.1 },
  ],
};

describe('grid', () => {
  it('is every configuration once, the last parameter fastest, an inactive parameter not at all', () => {
    expect(gridOf(CONDITIONAL)).toEqual({
      ok: true,
      configurations: [
        ...[0, 0.1, 0.2].map((decay) => ({ method: 'full', decay })),
        ...[4, 8, 12].flatMap((rank) => [0, 0.1, 0.2].map((decay) => ({ rank, method: 'lora', decay }))),
      ].toSorted((a, b) => order(a) - order(b)),
    });
    // `decay` comes before `rank` in the order of dependencies: rank had to wait for method.
    function order(point: { method: string; rank?: number; decay: number }): number {
      return (point.method === 'lora' ? 100 : 0) + (point.rank ?? 0) + point.decay;
    }
  });

  it('leaves out what constraints forbid', () => {
    const space: SearchSpace = {
      parameters: [
        { name: 'batch', type: 'categorical', choices: [8, 16, 32] },
        { name: 'accumulation', type: 'int', min: 1, max: 3 },
      ],
      constraints: [{ left: { terms: [{ parameters: ['batch', 'accumulation'] }] }, operator: '<=', right: 32 }],
    };
    const grid = gridOf(space);
    expect(grid.ok && grid.configurations.map(({ batch, accumulation }) => [batch, accumulation])).toEqual([
      [8, 1],
      [8, 2],
      [8, 3],
      [16, 1],
      [16, 2],
      [32, 1],
    ]);
  });

  it('has no configuration beyond its end', () => {
    expect(ask(CONDITIONAL, { type: 'grid' }, 11)).toMatchObject({ ok: true });
    expect(ask(CONDITIONAL, { type: 'grid' }, 12)).toEqual({ ok: false, reason: 'GridExhausted' });
  });

  it('holds exactly the configurations that random draws find', () => {
    fc.assert(
      fc.property(searchSpaces({ wild: false, finite: true }), (space) => {
        const grid = gridOf(space);
        if (!grid.ok) return;
        const points = new Set(grid.configurations.map((each) => JSON.stringify(each)));
        expect(points.size).toBe(grid.configurations.length);
        expect(grid.configurations.every((each) => isConfigurationOf(space, each))).toBe(true);
        const random = trialStream(1, 1);
        for (let i = 0; i < 50; i++) expect(points).toContain(JSON.stringify(drawConfiguration(space, random)));
      }),
      { numRuns: 150 },
    );
  });
});

describe('random', () => {
  it('draws each value of a stepped parameter as often as the others', () => {
    const space: SearchSpace = {
      parameters: [
        { name: 'int', type: 'int', min: 1, max: 9, step: 2 },
        { name: 'float', type: 'float', min: 0.1, max: 0.5, step: 0.1 },
        { name: 'choice', type: 'categorical', choices: ['a', 'b', 'c', true, 5] },
      ],
    };
    const counts = new Map<string, number>();
    for (let i = 0; i < 10_000; i++) {
      const next = ask(space, { type: 'random' }, i);
      for (const [name, value] of Object.entries(next.ok ? next.configuration : {}))
        counts.set(`${name}=${value}`, (counts.get(`${name}=${value}`) ?? 0) + 1);
    }
    expect(counts.size).toBe(15);
    // 2,000 expected; the standard deviation is 40.
    for (const count of counts.values()) expect(Math.abs(count - 2_000)).toBeLessThan(200);
  });

  it('draws a log parameter uniformly in the logarithm', () => {
    const space: SearchSpace = { parameters: [{ name: 'rate', type: 'float', min: 1e-4, max: 1, log: true }] };
    const decades = [0, 0, 0, 0];
    for (let i = 0; i < 10_000; i++) {
      const next = ask(space, { type: 'random' }, i);
      const decade = Math.floor(-Math.log10(next.ok ? Number(next.configuration['rate']) : 0));
      decades[decade] = (decades[decade] ?? 0) + 1;
    }
    // 2,500 expected; the standard deviation is 43.
    for (const count of decades) expect(Math.abs(count - 2_500)).toBeLessThan(215);
  });

  it('gives up on constraints that almost nothing satisfies', () => {
    const space: SearchSpace = {
      parameters: [{ name: 'x', type: 'float', min: 0, max: 1 }],
      constraints: [{ left: { parameter: 'x' }, operator: '>', right: 1 - 1e-12 }],
    };
    expect(ask(space, { type: 'random' }, 0)).toEqual({ ok: false, reason: 'NoneSatisfiesConstraints' });
    expect(checkSearchSpace(space, 'random').map(({ pointer }) => pointer)).toEqual(['/constraints']);
  });
});

describe('every sampler', () => {
  const samplers = fc.constantFrom<SamplerSettings>({ type: 'random' }, TPE);

  it('gives configurations of the space, and the same one for the same history', () => {
    fc.assert(
      fc.property(samplers, searchSpaces({ wild: false }), fc.nat(1_000), (sampler, space, seed) => {
        if (checkSearchSpace(space, sampler.type).length > 0) return;
        const history: Trial[] = [];
        for (let number = 0; number < 8; number++) {
          const next = ask(space, sampler, number, history, seed);
          expect(next.ok && isConfigurationOf(space, next.configuration)).toBe(true);
          const copied = JSON.parse(JSON.stringify({ space, history })) as { space: SearchSpace; history: Trial[] };
          expect(ask(copied.space, sampler, number, copied.history.toReversed(), seed)).toEqual(next);
          if (next.ok) history.push(trialOf(number, next.configuration, (number * 7) % 5));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('gives other configurations for other seeds and trial numbers', () => {
    const space: SearchSpace = { parameters: [{ name: 'x', type: 'float', min: 0, max: 1 }] };
    const drawn = new Set<unknown>();
    for (let seed = 0; seed < 30; seed++)
      for (let number = 0; number < 30; number++) {
        const next = ask(space, { type: 'random' }, number, [], seed);
        drawn.add(next.ok && next.configuration['x']);
      }
    expect(drawn.size).toBe(900);
  });
});

function trialOf(number: number, configuration: Trial['configuration'], value: number): Trial {
  return { number, configuration, outcome: 'completed', value, lastReport: null };
}
