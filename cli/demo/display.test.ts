import { expect, it } from 'vitest';
import { both, type Display, NOTHING_SAID } from './display.ts';
import { span } from './text-style.ts';

/** Tells its one step whenever the state of it is new. */
const oneStep = (name: string, state: string, height: number): Display => ({
  frame: ({ rows }) => Array.from({ length: Math.min(height, rows - 1) }, () => [span(name)]),
  news: (said) =>
    said.steps.get(1) === state
      ? { lines: [], said }
      : { lines: [`${name} ${state}`], said: { ...said, steps: new Map([[1, state]]) } },
});

it('two displays below each other remember what each of them has said, though their steps have the same numbers', () => {
  const first = both(oneStep('retrain', 'begins', 2), oneStep('training', 'begins', 2)).news(NOTHING_SAID);
  expect(first.lines).toEqual(['retrain begins', 'training begins']);
  const second = both(oneStep('retrain', 'begins', 2), oneStep('training', 'done', 2)).news(first.said);
  expect(second.lines).toEqual(['training done']);
  // The lower one goes, and comes again.
  const alone = oneStep('retrain', 'begins', 2).news(second.said);
  expect(alone.lines).toEqual([]);
});

it('the lower display is left out where there is no room, and both together leave the last row free', () => {
  const display = both(oneStep('upper', '', 8), oneStep('lower', '', 30));
  for (let rows = 2; rows < 40; rows++) expect(display.frame({ columns: 80, rows }).length).toBeLessThan(rows);
  expect(display.frame({ columns: 80, rows: 10 })).toHaveLength(8);
  expect(display.frame({ columns: 80, rows: 20 })).toHaveLength(19);
});
