import { describe, expect, it } from 'vitest';
import { NOTHING_SAID } from './display.ts';
import type { TrialView } from './hpo-answers.ts';
import { configurationText, type SweepView, sweepDisplay } from './sweep-display.ts';
import { job } from './test-scene.ts';
import { painted, widthOf } from './text-style.ts';

const trial = (number: number, status: string, lastReport: TrialView['lastReport'] = null): TrialView => ({
  number,
  jobId: `job-trial-${number}`,
  status,
  configuration: { warmupSteps: 12, learningRate: 0.0123456 },
  value: null,
  lastReport,
});

const view = (trials: readonly TrialView[], seconds = 10): SweepView => ({
  heading: 'Search',
  job: job({ type: 'hpo', spec: { trial: { model: { name: 'demo-search' } } } }),
  trials,
  planned: 4,
  gpuLane: { lane: 'gpu', slots: 8, running: 2 },
  atMs: Date.parse(job().submittedAt) + seconds * 1_000,
});

const four = [
  trial(0, 'COMPLETED', { step: 240, value: 4.9 }),
  trial(1, 'PAUSED', { step: 60, value: 6.1 }),
  trial(2, 'RUNNING', { step: 80, value: 5.5 }),
  trial(3, 'QUEUED'),
];

describe('a search on the terminal', () => {
  const text = (columns: number, rows: number) =>
    sweepDisplay(view(four))
      .frame({ columns, rows })
      .map((line) => painted(line, false));

  it('counts trials by how they stand, a paused one as pruned, and names the best so far', () => {
    expect(text(118, 24)[1]).toBe(
      '  1 run, 1 wait, 1 pruned, 1 done of 4 · 2 of 8 GPU slots · best so far 4.9000 at step 240 (trial 0)',
    );
  });

  it('shows each trial with its newest loss and its configuration', () => {
    expect(text(118, 24)[3]).toMatch(/✂ +1 +pruned +step 60 +6\.1000 +learningRate 0\.0123, warmupSteps 12$/);
  });

  it('leaves the trials out where there is no room for all of them, and never reaches the last column or row', () => {
    expect(text(118, 5)).toHaveLength(2);
    for (let columns = 1; columns <= 130; columns += 3)
      for (let rows = 2; rows <= 12; rows++) {
        const frame = sweepDisplay(view(four)).frame({ columns, rows });
        expect(frame.length).toBeLessThan(rows);
        for (const line of frame) expect(widthOf(line)).toBeLessThan(Math.max(2, columns));
      }
  });
});

describe('a search in a log', () => {
  it('tells each change of a trial once, and the counts every few seconds', () => {
    const first = sweepDisplay(view(four, 1)).news(NOTHING_SAID);
    expect(first.lines).toEqual([
      'trial  0 is done at step 240, 4.9000',
      'trial  1 is pruned at step 60, 6.1000',
      'trial  2 runs at step 80, 5.5000',
      'trial  3 asked for: learningRate 0.0123, warmupSteps 12',
    ]);
    expect(sweepDisplay(view(four, 2)).news(first.said).lines).toEqual([]);
    const later = sweepDisplay(view([...four.slice(0, 3), trial(3, 'FAILED')], 7)).news(first.said);
    expect(later.lines).toEqual([
      'trial  3 ended FAILED',
      expect.stringMatching(/^search +1 run, 0 wait, .* 1 failed of 4/),
    ]);
  });
});

it('a configuration is told in the order of its names, numbers to three digits', () => {
  expect(configurationText({ weightDecay: 0.1234567, method: 'lora', learningRate: 1e-5 })).toBe(
    'learningRate 0.00001, method lora, weightDecay 0.123',
  );
});
