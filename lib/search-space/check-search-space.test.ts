import fc from 'fast-check';
import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { checkSearchSpace } from './check-search-space.ts';
import { MAX_GRID_POINTS } from './grid.ts';
import type { SamplerSettings } from './sampler-settings.ts';
import { type Constraint, SearchSpace } from './search-space.ts';
import { searchSpaces } from './space-harness.ts';

const parameter = (members: object, ...others: object[]): SearchSpace =>
  ({ parameters: [{ name: 'x', ...members }, ...others] }) as unknown as SearchSpace;
const pointersOf = (space: SearchSpace, sampler: SamplerSettings['type'] = 'random'): string[] =>
  checkSearchSpace(space, sampler).map(({ pointer }) => pointer);

const INT = { type: 'int', min: 1, max: 4 };
const FLOAT = { type: 'float', min: 0, max: 1 };
const constrained = (...constraints: object[]): SearchSpace =>
  ({
    parameters: [
      { name: 'x', ...INT },
      { name: 'f', ...FLOAT },
      { name: 'word', type: 'categorical', choices: ['a', 'b'] },
      { name: 'size', type: 'categorical', choices: [8, 16] },
    ],
    constraints,
  }) as unknown as SearchSpace;

describe('a search space is refused at the field that is wrong:', () => {
  it.each<[string, SearchSpace, string]>([
    ['no parameters', { parameters: [] }, '/parameters'],
    ['a name used twice', parameter(INT, { name: 'x', ...INT }), '/parameters/1/name'],
    ['min above max', parameter({ type: 'float', min: 2, max: 1 }), '/parameters/0/min'],
    ['min above max of an int', parameter({ type: 'int', min: 2, max: 1 }), '/parameters/0/min'],
    ['a range wider than any number', parameter({ type: 'float', min: -1e308, max: 1e308 }), '/parameters/0/max'],
    ['log from 0', parameter({ type: 'float', min: 0, max: 1, log: true }), '/parameters/0/min'],
    ['log from a negative int', parameter({ type: 'int', min: -1, max: 8, log: true }), '/parameters/0/min'],
    ['log with a step', parameter({ type: 'float', min: 1, max: 2, log: true, step: 0.5 }), '/parameters/0/step'],
    ['log int with step 2', parameter({ type: 'int', min: 1, max: 9, log: true, step: 2 }), '/parameters/0/step'],
    ['a step that misses max', parameter({ type: 'float', min: 0, max: 1, step: 0.3 }), '/parameters/0/step'],
    ['a step longer than the range', parameter({ type: 'int', min: 1, max: 4, step: 5 }), '/parameters/0/step'],
    ['an int step that misses max', parameter({ type: 'int', min: 1, max: 4, step: 2 }), '/parameters/0/step'],
    ['no choices', parameter({ type: 'categorical', choices: [] }), '/parameters/0/choices'],
    ['a choice twice', parameter({ type: 'categorical', choices: ['a', 1, 'a'] }), '/parameters/0/choices/2'],
    [
      'a condition on nothing',
      parameter({ ...INT, when: { parameter: 'toString', equals: 1 } }),
      '/parameters/0/when/parameter',
    ],
    [
      'a condition on a continuous float',
      parameter(FLOAT, { name: 'y', ...INT, when: { parameter: 'x', equals: 0.5 } }),
      '/parameters/1/when/parameter',
    ],
    [
      'a condition that is never met',
      parameter(INT, { name: 'y', ...INT, when: { parameter: 'x', equals: 5 } }),
      '/parameters/1/when/equals',
    ],
    [
      'a condition on a value of another type',
      parameter(INT, { name: 'y', ...INT, when: { parameter: 'x', in: [1, '2'] } }),
      '/parameters/1/when/in/1',
    ],
    [
      'a condition that names a value twice',
      parameter(INT, { name: 'y', ...INT, when: { parameter: 'x', in: [1, 1] } }),
      '/parameters/1/when/in/1',
    ],
    ['a condition on itself', parameter({ ...INT, when: { parameter: 'x', equals: 1 } }), '/parameters/0/when'],
    [
      'a constraint on nothing',
      constrained({ left: { parameter: 'nope' }, operator: '<', right: 1 }),
      '/constraints/0/left/parameter',
    ],
    [
      'a constraint on nothing in a term',
      constrained({ left: 1, operator: '<', right: { terms: [{ parameters: ['x', 'nope'] }] } }),
      '/constraints/0/right/terms/0/parameters/1',
    ],
    [
      'a constraint on words',
      constrained({ left: { parameter: 'word' }, operator: '<', right: 1 }),
      '/constraints/0/left/parameter',
    ],
    ['a constraint without parameters', constrained({ left: 1, operator: '<', right: 2 }), '/constraints/0'],
    [
      'equality of a continuous float',
      constrained({ left: { parameter: 'f' }, operator: '==', right: 0.5 }),
      '/constraints/0/left/parameter',
    ],
    ['a constraint out of range', constrained({ left: { parameter: 'x' }, operator: '>', right: 4 }), '/constraints/0'],
    [
      'a product out of range',
      constrained({ left: { terms: [{ parameters: ['x', 'size'] }] }, operator: '>', right: 64 }),
      '/constraints/0',
    ],
    [
      'constraints that contradict each other',
      constrained(
        { left: { parameter: 'x' }, operator: '<', right: 2.5 },
        { left: { parameter: 'x' }, operator: '>', right: 2.5 },
      ),
      '/constraints',
    ],
  ])('%s', (_, space, pointer) => {
    expect(pointersOf(space)).toEqual([pointer]);
  });

  it('each parameter of a cycle, and not those that hang on it', () => {
    const on = (name: string, parent: string) => ({ name, ...INT, when: { parameter: parent, equals: 1 } });
    const space = { parameters: [on('a', 'b'), on('b', 'c'), on('c', 'a'), on('d', 'a')] } as unknown as SearchSpace;
    expect(pointersOf(space)).toEqual(['/parameters/0/when', '/parameters/1/when', '/parameters/2/when']);
  });

  it('all of them at once', () => {
    const space = parameter({ type: 'float', min: 2, max: 1 }, { name: 'y', type: 'categorical', choices: ['a', 'a'] });
    expect(pointersOf(space)).toEqual(['/parameters/0/min', '/parameters/1/choices/1']);
  });
});

describe('a grid', () => {
  it('needs steps, other samplers do not', () => {
    expect(pointersOf(parameter(FLOAT), 'grid')).toEqual(['/parameters/0/step']);
    expect(pointersOf(parameter({ ...FLOAT, min: 0.1, log: true }), 'grid')).toEqual(['/parameters/0']);
    expect(pointersOf(parameter(FLOAT), 'tpe')).toEqual([]);
    expect(pointersOf(parameter({ type: 'float', min: 1, max: 1 }), 'grid')).toEqual([]);
  });

  it('has a largest size', () => {
    const sized = (max: number) => parameter({ type: 'int', min: 1, max });
    expect(pointersOf(sized(MAX_GRID_POINTS), 'grid')).toEqual([]);
    expect(pointersOf(sized(MAX_GRID_POINTS + 1), 'grid')).toEqual(['/parameters']);
    expect(pointersOf(sized(Number.MAX_SAFE_INTEGER), 'grid')).toEqual(['/parameters']);
  });

  it('that constraints leave empty is refused', () => {
    const space = { ...parameter({ ...INT, min: 1, max: 2 }, { name: 'y', ...INT }), constraints: [] } as SearchSpace;
    const odd: Constraint = { left: { terms: [{ parameters: ['x'], factor: 2 }] }, operator: '==', right: 3 };
    expect(pointersOf({ ...space, constraints: [odd] }, 'grid')).toEqual(['/constraints']);
  });
});

it('steps of decimal fractions fit', () => {
  for (const [min, max, step] of [
    [0, 1, 0.1],
    [0.1, 0.5, 0.1],
    [1e-4, 9e-4, 1e-4],
  ])
    expect(pointersOf(parameter({ type: 'float', min, max, step }))).toEqual([]);
});

it('names of members of every object are names of parameters', () => {
  const space = parameter(
    { ...INT, name: 'constructor' },
    { name: 'y', ...INT, when: { parameter: 'constructor', equals: 1 } },
  );
  expect(pointersOf(space)).toEqual([]);
});

it('no value of the schema makes the check throw', () => {
  fc.assert(
    fc.property(fc.constantFrom('grid', 'random', 'tpe'), searchSpaces({ wild: true }), (sampler, space) => {
      expect([...Value.Errors(SearchSpace, space)]).toEqual([]);
      for (const { pointer } of checkSearchSpace(space, sampler))
        expect(pointer).toMatch(/^\/(parameters|constraints)/);
    }),
    { numRuns: 500 },
  );
});
