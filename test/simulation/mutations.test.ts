import { expect, it } from 'vitest';
import { huntMutations } from './hunt.ts';
import { MUTATIONS } from './mutations.ts';

/** Found within a few runs each; the others take more, and `npm run sim -- --mutations` hunts all of them. */
const QUICKLY_FOUND = [
  'offsets before the database',
  'dedupe by message id dropped',
  'late completion accepted',
  'budget settled twice',
  'commands not committed',
  'cap counted wrong',
  'pause forgotten at take-over',
  'promotion not idempotent',
];

it('there are at least twelve hand-made bugs, each with a name of its own', () => {
  expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length);
  expect(MUTATIONS.length).toBeGreaterThanOrEqual(12);
});

it.each(QUICKLY_FOUND)('the simulation finds the hand-made bug "%s" within 40 runs', async (name) => {
  const mutations = MUTATIONS.filter((mutation) => mutation.name === name);
  const [hunt] = await huntMutations({ firstSeed: 1, runs: 40, mutations });
  expect(hunt?.foundBy).not.toBeNull();
});
