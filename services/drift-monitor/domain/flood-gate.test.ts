import { expect, it } from 'vitest';
import { type FloodState, NO_FLOOD, passFlood } from './flood-gate.ts';

const policy = { observationsPerWindow: 1_000 };

function flood(count: number, before: FloodState = NO_FLOOD, windowStartMs = 0, prefix = 'o') {
  let state = before;
  const taken: number[] = [];
  for (let n = 0; n < count; n++) {
    const step = passFlood(policy, state, windowStartMs, `${prefix}${n}`);
    state = step.state;
    if (step.taken) taken.push(n);
  }
  return { state, taken };
}

it('what stays below the limit is taken whole', () => {
  expect(flood(999)).toEqual({ state: { windowStartMs: 0, level: 0, taken: 999 }, taken: [...Array(999).keys()] });
});

it('a flood is thinned: a thousand times the limit is eleven times the work', () => {
  const { taken, state } = flood(1_000_000);
  expect(taken.length).toBeGreaterThan(9_000);
  expect(taken.length).toBeLessThanOrEqual(11_000);
  expect(state.level).toBeGreaterThanOrEqual(9);
});

it('what comes twice within a level is chosen alike', () => {
  const { state } = flood(5_000);
  const choices = Array.from({ length: 200 }, (_, n) => passFlood(policy, state, 0, `again${n}`).taken);
  expect(choices).toEqual(Array.from({ length: 200 }, (_, n) => passFlood(policy, state, 0, `again${n}`).taken));
  expect(new Set(choices).size).toBe(2);
});

it('a lasting flood begins thinned in the next window, and one that is over is forgotten', () => {
  let { state } = flood(100_000);
  const { level } = state;
  ({ state } = flood(1, state, 100, 'next'));
  expect(state.level).toBe(level - 1);
  for (let window = 2; window < 20; window++) ({ state } = flood(1, state, 100 * window, 'quiet'));
  expect(state.level).toBe(0);
});

it('late observations of an older window count as those of the newest', () => {
  const { state } = flood(10, NO_FLOOD, 100);
  expect(passFlood(policy, state, 0, 'late').state).toEqual({ windowStartMs: 100, level: 0, taken: 11 });
});
