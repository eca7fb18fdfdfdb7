import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PruningSettings } from '#lib/search-space/pruning-settings.ts';
import { evolvePruning, type PruningState, startPruning } from './pruning.ts';
import type { IgnoredReason, PruningDecision, PruningEvent, PruningPolicy } from './pruning-event.ts';
import type { StoredNumber } from './stored-number.ts';

const LIVE = { strategy: 'livePercentile', drop: 0.25, warmUpSteps: 5, everySteps: 5, minimumTrials: 4 } as const;
const LIVE_MEDIAN = { strategy: 'liveMedian', warmUpSteps: 5, everySteps: 5, minimumTrials: 4 } as const;
const ASHA = { strategy: 'asha', minimumSteps: 5, reductionFactor: 3 } as const;
const MEDIAN = { strategy: 'median', warmUpSteps: 0, everySteps: 1, startupTrials: 1, minimumPeers: 1 } as const;
const PERCENTILE = { ...MEDIAN, strategy: 'percentile', percentile: 25 } as const;
const NONE = { strategy: 'none' } as const;
const STRATEGIES: readonly PruningSettings[] = [LIVE, LIVE_MEDIAN, ASHA, MEDIAN, PERCENTILE, NONE];

const report = (trial: number, step: number, value: StoredNumber | null, plannedSteps?: number): PruningEvent => ({
  type: 'report',
  trial,
  step,
  value,
  ...(plannedSteps === undefined ? {} : { plannedSteps }),
});
const ended = (trial: number, outcome: 'completed' | 'failed' | 'cancelled'): PruningEvent => ({
  type: 'ended',
  trial,
  outcome,
});
const minimize = (settings: PruningSettings): PruningPolicy => ({ settings, direction: 'minimize' });
const maximize = (settings: PruningSettings): PruningPolicy => ({ settings, direction: 'maximize' });

interface Told {
  readonly state: PruningState;
  readonly decisions: readonly PruningDecision[];
  readonly ignored: readonly (IgnoredReason | null)[];
}

function tell(policy: PruningPolicy, events: readonly PruningEvent[], copy = (state: PruningState) => state): Told {
  let state = startPruning(policy);
  const decisions: PruningDecision[] = [];
  const ignored: (IgnoredReason | null)[] = [];
  for (const event of events) {
    const step = evolvePruning(policy, copy(state), event);
    state = step.state;
    decisions.push(...step.decisions);
    ignored.push(step.ignored);
  }
  return { state, decisions, ignored };
}

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

  const events: fc.Arbitrary<PruningEvent> = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        type: fc.constant('report' as const),
        trial: fc.nat(7),
        step: fc.nat(25),
        value: fc.oneof(
          fc.integer({ min: 0, max: 4 }),
          fc.constantFrom<StoredNumber | null>('NaN', 'Infinity', '-Infinity', null),
        ),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant('ended' as const),
        trial: fc.nat(7),
        outcome: fc.constantFrom('completed' as const, 'failed' as const, 'cancelled' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('revived' as const), trial: fc.nat(7) }) },
  );
  const policies = fc.record({
    settings: fc.constantFrom(...STRATEGIES),
    direction: fc.constantFrom('minimize' as const, 'maximize' as const),
  });

  it('decides the same after any number of crashes: folded at once, or with JSON between all events', () => {
    fc.assert(
      fc.property(policies, fc.array(events, { maxLength: 120 }), (policy, history) => {
        const once = tell(policy, history);
        const crashed = tell(policy, history, (state) => JSON.parse(JSON.stringify(state)) as PruningState);
        expect(crashed).toEqual(once);
        expect(JSON.parse(JSON.stringify(once))).toEqual(once);
      }),
      { numRuns: 400 },
    );
  });

  it('changes no state it was given', () => {
    fc.assert(
      fc.property(policies, fc.array(events, { maxLength: 60 }), (policy, history) => {
        const seen: [PruningState, string][] = [];
        tell(policy, history, (state) => {
          seen.push([state, JSON.stringify(state)]);
          return state;
        });
        for (const [state, text] of seen) expect(JSON.stringify(state)).toBe(text);
      }),
      { numRuns: 100 },
    );
  });

  it('prunes a trial at most once between revivals, and a revived one never', () => {
    fc.assert(
      fc.property(policies, fc.array(events, { maxLength: 120 }), (policy, history) => {
        let state = startPruning(policy);
        const pruned = new Set<number>();
        const revived = new Set<number>();
        for (const event of history) {
          const step = evolvePruning(policy, state, event);
          state = step.state;
          const isRevival = event.type === 'revived' && step.ignored === null;
          expect(isRevival && !pruned.has(event.trial)).toBe(false);
          if (isRevival) revived.add(event.trial);
          for (const decision of step.decisions) {
            expect(event).toMatchObject({ type: 'report', trial: decision.trial });
            expect(revived.has(decision.trial)).toBe(false);
            expect(pruned.has(decision.trial)).toBe(false);
            if (decision.prune) pruned.add(decision.trial);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('never prunes the best trial of a check, and mirrors when the metric is turned around', () => {
    const finite = fc.array(fc.record({ trial: fc.nat(9), step: fc.nat(30), value: fc.integer({ min: -3, max: 3 }) }), {
      maxLength: 150,
    });
    fc.assert(
      fc.property(fc.constantFrom(...STRATEGIES), finite, (settings, reports) => {
        const toEvents = (sign: number): PruningEvent[] =>
          reports.map((each) => report(each.trial, each.step, sign * each.value));
        const down = tell(minimize(settings), toEvents(1));
        const up = tell(maximize(settings), toEvents(-1));
        expect(up.decisions.map(({ trial, prune }) => [trial, prune])).toEqual(
          down.decisions.map(({ trial, prune }) => [trial, prune]),
        );
        expect(down.decisions.filter(({ prune, evidence }) => prune && evidence.rank === 1)).toEqual([]);
      }),
      { numRuns: 300 },
    );
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
