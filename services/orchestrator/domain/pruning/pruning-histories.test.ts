import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evolvePruning, type PruningState, startPruning } from './pruning.ts';
import type { PruningEvent } from './pruning-event.ts';
import { STRATEGIES, report, minimize, maximize, tell } from './pruning-harness.ts';
import type { StoredNumber } from './stored-number.ts';

describe('every strategy, over random histories,', () => {
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
});
