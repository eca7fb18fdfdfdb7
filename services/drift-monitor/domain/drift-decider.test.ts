import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CALM,
  type DriftDecision,
  type DriftEvent,
  type DriftPolicy,
  type DriftState,
  decideDrift,
} from './drift-decider.ts';

const HOUR_MS = 3_600_000;
const policy: DriftPolicy = {
  enabled: true,
  persistentWindows: 3,
  cooldownMs: 24 * HOUR_MS,
  signalBudget: 2,
  budgetPeriodMs: 7 * 24 * HOUR_MS,
  retrainTimeoutMs: 12 * HOUR_MS,
};

type Step = readonly [hour: number, DriftEvent];
const drifts = (hour: number): Step => [
  hour,
  { type: 'WindowJudged', windowEndMs: hour * HOUR_MS, judged: true, causes: ['length'] },
];
const calm = (hour: number): Step => [
  hour,
  { type: 'WindowJudged', windowEndMs: hour * HOUR_MS, judged: true, causes: [] },
];
const sparse = (hour: number): Step => [
  hour,
  { type: 'WindowJudged', windowEndMs: hour * HOUR_MS, judged: false, causes: [] },
];
const ended = (hour: number, signal: number, refused = false): Step => [
  hour,
  { type: 'RetrainEnded', signal, refused },
];
const asked = (hour: number): Step => [hour, { type: 'SignalRequested', source: 'manual' }];

function play(steps: readonly Step[]): { state: DriftState; answers: string[]; decisions: DriftDecision[] } {
  let state = CALM;
  const decisions: DriftDecision[] = [];
  for (const [hour, event] of steps) {
    const step = decideDrift(policy, state, event, hour * HOUR_MS);
    state = JSON.parse(JSON.stringify(step.state)) as DriftState;
    decisions.push(step.decision);
  }
  const answers = decisions.map((decision) => (decision.kind === 'suppressed' ? decision.reason : decision.kind));
  return { state, answers, decisions };
}

describe('a retrain signal', () => {
  it('whose job was refused gives its place in the budget back, once; one whose job ran does not', () => {
    const refused = play([
      asked(1),
      ended(2, 1, true),
      asked(3),
      ended(4, 2, true),
      ended(5, 2, true),
      asked(6),
      ended(7, 3),
    ]);
    expect(refused.answers).toEqual(['signal', 'none', 'signal', 'none', 'none', 'signal', 'none']);
    expect(refused.state).toMatchObject({ signals: 3, recentSignalsMs: [6 * HOUR_MS] });
    const ran = play([asked(1), ended(2, 1), asked(3), ended(4, 2), asked(5)]);
    expect(ran.answers.at(-1)).toBe('BudgetExhausted');
  });

  it('needs drift in k windows in a row', () => {
    const { answers, decisions } = play([drifts(1), drifts(2), calm(3), drifts(4), drifts(5), drifts(6)]);
    expect(answers).toEqual([
      'NotPersistent',
      'NotPersistent',
      'BelowThreshold',
      'NotPersistent',
      'NotPersistent',
      'signal',
    ]);
    expect(decisions.at(-1)).toEqual({ kind: 'signal', signal: 1, source: 'drift', causes: ['length'] });
  });

  it('a window with too few observations neither helps nor resets', () => {
    expect(play([drifts(1), drifts(2), sparse(3), drifts(4)]).answers.slice(2)).toEqual([
      'TooFewObservations',
      'signal',
    ]);
  });

  it('a window that comes again counts once', () => {
    expect(play([drifts(1), drifts(1), drifts(1), drifts(2)]).answers).toEqual([
      'NotPersistent',
      'WindowAlreadyJudged',
      'WindowAlreadyJudged',
      'NotPersistent',
    ]);
  });

  it('waits for the running retrain, then for the cooldown', () => {
    const first = [drifts(1), drifts(2), drifts(3)];
    const { answers } = play([
      ...first,
      drifts(4),
      drifts(5),
      drifts(6),
      ended(7, 1),
      drifts(8),
      drifts(26),
      drifts(27),
    ]);
    expect(answers.slice(2)).toEqual([
      'signal',
      'NotPersistent',
      'NotPersistent',
      'RetrainInFlight',
      'none',
      'Cooldown',
      'Cooldown',
      'signal',
    ]);
  });

  it('is not held up for ever by a retrain whose end nobody reported', () => {
    expect(play([asked(1), asked(12), asked(13)]).answers).toEqual(['signal', 'RetrainInFlight', 'signal']);
  });

  it('the end of an older retrain does not free the way', () => {
    expect(play([asked(1), asked(14), ended(15, 1), asked(16)]).answers).toEqual([
      'signal',
      'signal',
      'none',
      'RetrainInFlight',
    ]);
  });

  it('is bounded by the budget of its period, whoever asks', () => {
    const steps = [
      asked(1),
      ended(2, 1),
      asked(3),
      ended(4, 2),
      asked(5),
      drifts(100),
      drifts(101),
      drifts(102),
      drifts(170),
    ];
    expect(play(steps).answers.slice(4)).toEqual([
      'BudgetExhausted',
      'NotPersistent',
      'NotPersistent',
      'BudgetExhausted',
      'signal',
    ]);
  });

  it('is not sent without a policy, whoever asks; the streak goes on, and switching it on lets the next window signal', () => {
    const off = { ...policy, enabled: false };
    let state = CALM;
    const answers: string[] = [];
    for (const hour of [1, 2, 3, 4]) {
      const [, event] = drifts(hour);
      const step = decideDrift(hour < 4 ? off : policy, state, event, hour * HOUR_MS);
      state = step.state;
      answers.push(step.decision.kind === 'suppressed' ? step.decision.reason : step.decision.kind);
    }
    expect(answers).toEqual(['NotPersistent', 'NotPersistent', 'NoRetrainPolicy', 'signal']);
    expect(decideDrift(off, CALM, { type: 'SignalRequested', source: 'manual' }, 0).decision).toEqual({
      kind: 'suppressed',
      reason: 'NoRetrainPolicy',
    });
  });

  it('a person needs neither drift nor cooldown', () => {
    expect(play([asked(1), ended(2, 1), asked(3)]).answers).toEqual(['signal', 'none', 'signal']);
  });
});

it('whatever happens, no two retrains run at once and no period has more signals than its budget', () => {
  const hourly = fc.constantFrom(
    drifts,
    calm,
    sparse,
    asked,
    (hour: number) => ended(hour, 1),
    (hour: number) => ended(hour, 2),
  );
  fc.assert(
    fc.property(fc.array(hourly, { maxLength: 120 }), (kinds) => {
      const steps = kinds.map((kind, at) => kind(at + 1));
      const { decisions, state } = play(steps);
      const running = new Map<number, number>();
      const signalled: number[] = [];
      for (const [at, decision] of decisions.entries()) {
        const [hour, event] = steps[at] ?? [0, { type: 'RetrainEnded', signal: 0, refused: false } as const];
        if (event.type === 'RetrainEnded') running.delete(event.signal);
        if (decision.kind !== 'signal') continue;
        for (const since of running.values()) expect(hour - since).toBeGreaterThanOrEqual(12);
        running.clear();
        running.set(decision.signal, hour);
        signalled.push(hour);
        expect(signalled.filter((before) => hour - before < 7 * 24).length).toBeLessThanOrEqual(policy.signalBudget);
      }
      expect(state.recentSignalsMs.length).toBeLessThanOrEqual(policy.signalBudget);
    }),
  );
});
