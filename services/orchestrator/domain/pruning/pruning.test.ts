import { describe, expect, it } from 'vitest';
import { evolvePruning, startPruning } from './pruning.ts';
import type { PruningEvent } from './pruning-event.ts';
import {
  LIVE,
  LIVE_MEDIAN,
  ASHA,
  MEDIAN,
  NONE,
  STRATEGIES,
  report,
  ended,
  minimize,
  maximize,
  type Told,
  tell,
} from './pruning-harness.ts';
import type { StoredNumber } from './stored-number.ts';

const prunedBy = ({ decisions }: Told): number[] => decisions.filter(({ prune }) => prune).map(({ trial }) => trial);
const reasonsOf = ({ decisions }: Told): string[] => decisions.map(({ evidence }) => evidence.reason);
const atStep = (step: number, ...values: StoredNumber[]): PruningEvent[] =>
  values.map((value, trial) => report(trial, step, value));

describe('livePercentile', () => {
  it('drops the worst quarter of those at the check, with the numbers that were compared', () => {
    const told = tell(minimize(LIVE), atStep(5, 1, 2, 3, 4));
    expect(prunedBy(told)).toEqual([3]);
    expect(told.decisions.at(-1)).toEqual({
      trial: 3,
      prune: true,
      evidence: {
        strategy: 'livePercentile',
        reason: 'WorseThanPeers',
        step: 5,
        checkStep: 5,
        value: 4,
        threshold: 3,
        rank: 4,
        peers: 3,
      },
    });
  });

  it('needs four trials at a check; the first three stay whatever they report', () => {
    expect(reasonsOf(tell(minimize(LIVE), atStep(5, 9, 8, 7, 1)))).toEqual([
      'TooFewPeers',
      'TooFewPeers',
      'TooFewPeers',
      'GoodEnough',
    ]);
  });

  it('keeps what equals the last one kept, however many do', () => {
    expect(prunedBy(tell(minimize(LIVE), atStep(5, 1, 1, 1, 1, 1, 1, 1, 1)))).toEqual([]);
    expect(prunedBy(tell(minimize(LIVE), atStep(5, 1, 2, 2, 2, 2, 2, 2, 2)))).toEqual([]);
    expect(prunedBy(tell(minimize(LIVE), atStep(5, 1, 1, 1, 2)))).toEqual([3]);
  });

  it('drops 29 of 100 at a share of 0.29, although 100 times 0.29 is a little less than 29 for a computer', () => {
    const others = [...Array.from({ length: 71 }, () => 0), ...Array.from({ length: 28 }, () => 2)];
    const told = tell(minimize({ ...LIVE, drop: 0.29 }), atStep(5, ...others, 1));
    expect(told.decisions.at(-1)).toMatchObject({ trial: 99, prune: true, evidence: { rank: 72, threshold: 0 } });
  });

  it('turns around for a metric to maximise', () => {
    expect(prunedBy(tell(maximize(LIVE), atStep(5, 4, 3, 2, 1)))).toEqual([3]);
    expect(tell(maximize(LIVE), atStep(5, 4, 3, 2, 1)).decisions.at(-1)?.evidence.threshold).toBe(2);
    expect(prunedBy(tell(maximize(LIVE), atStep(5, 1, 2, 3, 4)))).toEqual([]);
  });

  it('judges by the best value so far: one bad report does not prune', () => {
    const early = [0, 1, 2, 3].map((trial) => report(trial, 3, 1 + trial / 10));
    const told = tell(minimize(LIVE), [...early, ...atStep(5, 2, 2, 2, 9)]);
    expect(told.decisions.at(-1)?.evidence).toMatchObject({ value: 1.3, rank: 4 });
  });

  it('checks at 5, 10, 15 ... and makes up for a missed check once', () => {
    const steps = [3, 4, 7, 9, 14, 15, 31, 34].map((step) => report(0, step, 1));
    expect(tell(minimize(LIVE), steps).decisions.map(({ evidence }) => [evidence.step, evidence.checkStep])).toEqual([
      [7, 5],
      [14, 10],
      [15, 15],
      [31, 30],
    ]);
  });

  it('compares with every trial that passed the check, whatever became of it', () => {
    const others = atStep(5, 1, 2, 3, 9);
    const told = tell(minimize(LIVE), [
      ...others,
      ended(0, 'completed'),
      ended(1, 'failed'),
      ended(2, 'cancelled'),
      report(4, 5, 8),
    ]);
    expect(told.decisions.at(-1)?.evidence).toMatchObject({ peers: 4, rank: 4, threshold: 8, reason: 'GoodEnough' });
  });

  it.each<[StoredNumber, string]>([
    ['NaN', 'NotANumber'],
    ['Infinity', 'Diverged'],
    ['-Infinity', 'Diverged'],
  ])('prunes a trial that reports %s at a check without peers, and compares nobody with it', (value, reason) => {
    const told = tell(minimize(LIVE), [report(9, 5, value), ...atStep(5, 1, 2, 3, 4)]);
    expect(told.decisions[0]).toMatchObject({ trial: 9, prune: true, evidence: { reason, peers: 0, rank: null } });
    expect(told.decisions[4]?.evidence.peers).toBe(3);
  });

  it('waits for the check when a value between checks is no number', () => {
    const told = tell(minimize(LIVE), [report(0, 4, 1), report(0, 5, 1), report(0, 6, 'NaN'), report(0, 10, 2)]);
    expect(told.decisions.map(({ evidence }) => [evidence.step, evidence.value])).toEqual([
      [5, 1],
      [10, 1],
    ]);
  });
});

describe('liveMedian', () => {
  it('drops the worse half', () => {
    expect(prunedBy(tell(minimize(LIVE_MEDIAN), atStep(5, 1, 2, 4, 3)))).toEqual([3]);
    expect(prunedBy(tell(minimize(LIVE_MEDIAN), atStep(5, 1, 2, 4, 3, 2.5)))).toEqual([3]);
    expect(prunedBy(tell(minimize(LIVE_MEDIAN), atStep(5, 1, 2, 4, 3, 2.5, 2.6)))).toEqual([3, 5]);
  });
});

describe('asha', () => {
  it('lets the best third of a rung go on; until three are there, the best so far', () => {
    expect(prunedBy(tell(minimize(ASHA), atStep(5, 3, 2, 4, 1, 2, 1)))).toEqual([2, 4]);
    const told = tell(minimize(ASHA), atStep(5, 1, 2));
    expect(told.decisions[1]?.evidence).toMatchObject({ rank: 2, threshold: 1, peers: 1, reason: 'WorseThanPeers' });
  });

  it('has rungs at 5, 15, 45 ...', () => {
    const steps = [4, 5, 14, 16, 44, 46, 134, 135].map((step) => report(0, step, 1));
    expect(tell(minimize(ASHA), steps).decisions.map(({ evidence }) => [evidence.step, evidence.checkStep])).toEqual([
      [5, 5],
      [16, 15],
      [46, 45],
      [135, 135],
    ]);
  });

  it('judges by the newest value and keeps what a rung saw when the trial is gone', () => {
    const told = tell(minimize(ASHA), [
      report(0, 4, 0),
      report(0, 5, 5),
      ended(0, 'failed'),
      report(1, 5, 6),
      report(2, 5, 4),
    ]);
    expect(told.decisions.map(({ prune, evidence }) => [evidence.value, prune])).toEqual([
      [5, false],
      [6, true],
      [4, false],
    ]);
  });
});

describe('median and percentile', () => {
  it('prune nothing before trials complete, however many run', () => {
    const events = Array.from({ length: 64 }, (_, trial) => report(trial, 1, trial));
    expect(new Set(reasonsOf(tell(minimize(MEDIAN), events)))).toEqual(new Set(['TooFewCompleted']));
  });

  it('a step that was not reported by a completed trial keeps', () => {
    const told = tell(minimize(MEDIAN), [report(0, 1, 1), ended(0, 'completed'), report(1, 2, 9), report(1, 1, 8)]);
    expect(reasonsOf(told).slice(1)).toEqual(['TooFewPeers', 'TooFewPeers']);
  });

  it('only NaN is pruned; any number before saves the trial', () => {
    const completed = [report(0, 1, 1), report(0, 2, 1), ended(0, 'completed')];
    expect(reasonsOf(tell(minimize(MEDIAN), [...completed, report(1, 1, 'NaN')])).at(-1)).toBe('NotANumber');
    expect(reasonsOf(tell(minimize(MEDIAN), [...completed, report(1, 1, 1), report(1, 2, 'NaN')])).at(-1)).toBe(
      'GoodEnough',
    );
  });
});

it('the curve of a trial that can never be compared with is not kept', () => {
  for (const outcome of ['failed', 'cancelled'] as const)
    expect(tell(minimize(MEDIAN), [report(0, 1, 1), ended(0, outcome)]).state).toEqual({
      kind: 'curves',
      trials: { 0: { standing: outcome, steps: [], values: [] } },
    });
});

it('none decides nothing and keeps nothing', () => {
  const told = tell(minimize(NONE), [...atStep(5, 1, 2, 3, 'NaN'), ended(0, 'completed')]);
  expect(told).toMatchObject({ state: { kind: 'none' }, decisions: [] });
});

describe('every strategy that decides', () => {
  const deciding = STRATEGIES.filter(({ strategy }) => strategy !== 'none').map(
    (settings) => [settings.strategy, settings] as const,
  );

  it.each(deciding)('%s ignores what comes late, twice, without the metric or at no step', (_, settings) => {
    const policy = minimize(settings);
    const told = tell(policy, [
      report(0, 5, 1),
      report(0, 5, 0.5),
      report(0, 6, null),
      report(0, 6.5, 1),
      report(0, -1, 1),
      ended(0, 'completed'),
      report(0, 10, 1),
      { type: 'revived', trial: 0 },
    ]);
    expect(told.ignored).toEqual([null, 'OutOfOrder', 'NoValue', 'BadStep', 'BadStep', null, 'Late', 'NotPruned']);
    expect(tell(policy, [report(0, 5, 1), ended(0, 'completed')]).state).toEqual(told.state);
  });

  it.each(deciding)('%s goes on after an attempt that repeats steps', (_, settings) => {
    const once = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((step) => report(0, step, 1 / step));
    const repeated = [...once.slice(0, 7), ...once.slice(4)];
    expect(tell(minimize(settings), repeated).decisions).toEqual(tell(minimize(settings), once).decisions);
  });

  it('does not prune at the last step: the trial is done anyway', () => {
    for (const settings of [LIVE, LIVE_MEDIAN, ASHA]) {
      const last = [1, 2, 3, 9].map((value, trial) => report(trial, 5, value, 5));
      expect(tell(minimize(settings), last).decisions).toEqual([]);
      const before = [1, 2, 3, 9].map((value, trial) => report(trial, 5, value, 6));
      expect(prunedBy(tell(minimize(settings), before))).toContain(3);
    }
    const completed = [report(0, 5, 1), ended(0, 'completed')];
    expect(prunedBy(tell(minimize(MEDIAN), [...completed, report(1, 5, 2, 5)]))).toEqual([]);
    expect(prunedBy(tell(minimize(MEDIAN), [...completed, report(1, 5, 2, 6)]))).toEqual([1]);
  });
});

it.each([
  ['livePercentile', LIVE],
  ['asha', ASHA],
  ['median', MEDIAN],
] as const)('%s judges a revived trial no more, however bad it is', (_, settings) => {
  const good = [0, 1, 2].flatMap((trial) => [report(trial, 5, 1), report(trial, 15, 1), ended(trial, 'completed')]);
  const events: PruningEvent[] = [...good, report(3, 5, 9), { type: 'revived', trial: 3 }, report(3, 15, 9)];
  const told = tell(minimize(settings), events);
  expect(told.decisions.filter(({ trial }) => trial === 3)).toMatchObject([{ prune: true, evidence: { step: 5 } }]);
  expect(told.ignored.at(-1)).toBeNull();
});

it('a revived trial goes on being compared with, and can complete', () => {
  const policy = minimize(LIVE);
  const told = tell(policy, [
    ...atStep(5, 1, 2, 3, 9),
    { type: 'revived', trial: 3 },
    report(3, 10, 0.5),
    report(0, 10, 1),
    report(1, 10, 2),
    report(2, 10, 3),
    ended(3, 'completed'),
  ]);
  expect(prunedBy(told)).toEqual([3, 2]);
  expect(told.decisions.at(-1)?.evidence).toMatchObject({ rank: 4, peers: 3 });
  expect(told.state.kind === 'rungs' && told.state.trials[3]?.standing).toBe('completed');
});

it('a pruned trial that finished before it was stopped counts as completed', () => {
  const policy = minimize(MEDIAN);
  const told = tell(policy, [
    report(0, 1, 1),
    ended(0, 'completed'),
    report(1, 1, 9),
    ended(1, 'completed'),
    report(2, 1, 6),
  ]);
  // The median of 1 and 9 is 5.
  expect(prunedBy(told)).toEqual([1, 2]);
  expect(told.decisions.at(-1)?.evidence).toMatchObject({ threshold: 5, peers: 2 });
});

it('a state of another policy is a bug, not a decision', () => {
  expect(() => evolvePruning(minimize(MEDIAN), startPruning(minimize(LIVE)), report(0, 1, 1))).toThrow(
    'another policy',
  );
  expect(() => evolvePruning(minimize(LIVE), startPruning(minimize(MEDIAN)), report(0, 1, 1))).toThrow(
    'another policy',
  );
});
