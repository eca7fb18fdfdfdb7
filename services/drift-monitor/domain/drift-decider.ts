import { assertNever } from '#lib/kernel/errors.ts';

export interface DriftPolicy {
  /** False: there is no retrain policy, or it is switched off. Drift is watched, nothing is signalled. */
  readonly enabled: boolean;
  /** Windows in a row that must have drifted: one bad hour is no reason to train. */
  readonly persistentWindows: number;
  /** No drift signal earlier than this after the last signal of any kind. */
  readonly cooldownMs: number;
  /** Signals within `budgetPeriodMs` at most, whatever their source. */
  readonly signalBudget: number;
  readonly budgetPeriodMs: number;
  /** A retrain that nobody reported the end of stops holding others up after this. */
  readonly retrainTimeoutMs: number;
}

/** Why no signal was sent; shown to people. */
export const SUPPRESSIONS = [
  'TooFewObservations',
  'BelowThreshold',
  'NotPersistent',
  'RetrainInFlight',
  'Cooldown',
  'BudgetExhausted',
  'WindowAlreadyJudged',
  'NoRetrainPolicy',
  /** No reference is stored for the version: nothing to compare with. */
  'UnknownVersion',
  /** A scheduled run that fell into an outage and whose schedule skips such runs. */
  'MissedRun',
] as const;
export type Suppression = (typeof SUPPRESSIONS)[number];

export type DriftEvent =
  /** `causes`: drifted features or degraded metrics, most certain first; empty = none. */
  | {
      readonly type: 'WindowJudged';
      readonly windowEndMs: number;
      readonly judged: boolean;
      readonly causes: readonly string[];
    }
  /** A person or a schedule asks: neither threshold, persistence nor cooldown apply. */
  | { readonly type: 'SignalRequested'; readonly source: 'manual' | 'schedule' }
  /**
   * The retrain of a signal ended, however. `refused`: there never was a job, and the signal gives back its place in the budget; the
   * cooldown stays, or every window would make another signal that is refused.
   * Reported again, or of an older signal: no effect.
   */
  | { readonly type: 'RetrainEnded'; readonly signal: number; readonly refused: boolean };

export type DriftDecision =
  | {
      readonly kind: 'signal';
      /** Counts the signals of this model from 1: dedupe id of the message. */
      readonly signal: number;
      readonly source: 'drift' | 'manual' | 'schedule';
      readonly causes: readonly string[];
    }
  | { readonly kind: 'suppressed'; readonly reason: Suppression }
  | { readonly kind: 'none' };

/** JSON; what is known of one version's windows. */
export interface WindowStreak {
  /** Windows in a row that drifted, up to now. */
  readonly streak: number;
  readonly lastWindowEndMs: number | null;
}

/** JSON; what is known of the model, whichever of its versions drift: one retrain at a time, one budget. */
export interface RetrainState {
  readonly signals: number;
  /** Times of the signals within the budget's period, oldest first. */
  readonly recentSignalsMs: readonly number[];
  readonly lastSignalMs: number | null;
  /** The signal whose retrain runs. */
  readonly inFlight: number | null;
}

export interface DriftState extends WindowStreak, RetrainState {}

export const NO_STREAK: WindowStreak = { streak: 0, lastWindowEndMs: null };
export const NEVER_TRAINED: RetrainState = { signals: 0, recentSignalsMs: [], lastSignalMs: null, inFlight: null };
export const CALM: DriftState = { ...NO_STREAK, ...NEVER_TRAINED };

/** The two parts of a state, which are stored apart. */
export const partsOfState = ({
  streak,
  lastWindowEndMs,
  ...model
}: DriftState): { readonly window: WindowStreak; readonly model: RetrainState } => ({
  window: { streak, lastWindowEndMs },
  model,
});

/**
 * From what was seen to a retrain signal or the reason why not. Windows come in the order of their ends; one that was judged is refused, so events may
 * be repeated. A window with too few observations neither adds to the streak nor breaks it: silence is no recovery. A
 * suppressed drift keeps its streak, so the signal comes as soon as cooldown, retrain or budget allow it, if it still drifts then.
 */
export function decideDrift(
  policy: DriftPolicy,
  state: DriftState,
  event: DriftEvent,
  nowMs: number,
): { readonly state: DriftState; readonly decision: DriftDecision } {
  switch (event.type) {
    case 'WindowJudged':
      return judgeWindowEvent(policy, state, event, nowMs);
    case 'SignalRequested': {
      const obstacle = obstacleTo(policy, state, nowMs);
      return obstacle === null ? signal(policy, state, event.source, [], nowMs) : suppressed(state, obstacle);
    }
    case 'RetrainEnded': {
      if (state.inFlight !== event.signal) return { state, decision: { kind: 'none' } };
      const ended = { ...state, inFlight: null };
      // In flight is the last signal, and the last time is its.
      const next = event.refused ? { ...ended, recentSignalsMs: state.recentSignalsMs.slice(0, -1) } : ended;
      return { state: next, decision: { kind: 'none' } };
    }
    default:
      return assertNever(event);
  }
}

function judgeWindowEvent(
  policy: DriftPolicy,
  before: DriftState,
  event: Extract<DriftEvent, { type: 'WindowJudged' }>,
  nowMs: number,
): { state: DriftState; decision: DriftDecision } {
  if (before.lastWindowEndMs !== null && event.windowEndMs <= before.lastWindowEndMs)
    return suppressed(before, 'WindowAlreadyJudged');
  const seen = { ...before, lastWindowEndMs: event.windowEndMs };
  if (!event.judged) return suppressed(seen, 'TooFewObservations');
  if (event.causes.length === 0) return suppressed({ ...seen, streak: 0 }, 'BelowThreshold');
  const state = { ...seen, streak: seen.streak + 1 };
  if (state.streak < policy.persistentWindows) return suppressed(state, 'NotPersistent');
  const obstacle = obstacleTo(policy, state, nowMs);
  if (obstacle === 'RetrainInFlight' || obstacle === 'NoRetrainPolicy') return suppressed(state, obstacle);
  if (state.lastSignalMs !== null && nowMs - state.lastSignalMs < policy.cooldownMs)
    return suppressed(state, 'Cooldown');
  return obstacle === null ? signal(policy, state, 'drift', event.causes, nowMs) : suppressed(state, obstacle);
}

function obstacleTo(policy: DriftPolicy, state: DriftState, nowMs: number): Suppression | null {
  if (!policy.enabled) return 'NoRetrainPolicy';
  const runsSinceMs = state.inFlight === null ? null : state.lastSignalMs;
  if (runsSinceMs !== null && nowMs - runsSinceMs < policy.retrainTimeoutMs) return 'RetrainInFlight';
  return recent(policy, state, nowMs).length >= policy.signalBudget ? 'BudgetExhausted' : null;
}

const recent = (policy: DriftPolicy, state: DriftState, nowMs: number): number[] =>
  state.recentSignalsMs.filter((atMs) => nowMs - atMs < policy.budgetPeriodMs);

function signal(
  policy: DriftPolicy,
  state: DriftState,
  source: 'drift' | 'manual' | 'schedule',
  causes: readonly string[],
  nowMs: number,
): { state: DriftState; decision: DriftDecision } {
  const number = state.signals + 1;
  const next = {
    ...state,
    streak: 0,
    signals: number,
    recentSignalsMs: [...recent(policy, state, nowMs), nowMs],
    lastSignalMs: nowMs,
    inFlight: number,
  };
  return { state: next, decision: { kind: 'signal', signal: number, source, causes } };
}

const suppressed = (state: DriftState, reason: Suppression): { state: DriftState; decision: DriftDecision } => ({
  state,
  decision: { kind: 'suppressed', reason },
});
