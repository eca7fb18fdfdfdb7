import { assertNever } from '#lib/kernel/errors.ts';
import { completedReport, type CurveState, startCurves } from './completed-pruning.ts';
import type {
  IgnoredReason,
  PruningEvent,
  PruningPolicy,
  PruningStep,
  TrialReport,
  TrialStanding,
} from './pruning-event.ts';
import { type RungState, rungReport, startRungs } from './rung-pruning.ts';
import { restored } from './stored-number.ts';

/** Plain JSON. Only what a later decision can need: it lives in the snapshot of the parent workflow. */
export type PruningState = { readonly kind: 'none' } | RungState | CurveState;

export function startPruning({ settings }: PruningPolicy): PruningState {
  switch (settings.strategy) {
    case 'none':
      return { kind: 'none' };
    case 'livePercentile':
    case 'liveMedian':
    case 'asha':
      return startRungs();
    case 'median':
    case 'percentile':
      return startCurves();
    default:
      return assertNever(settings);
  }
}

/**
 * Folds one event: the decisions follow from the policy and the events so far, whatever happened in between. A pruned trial stands as
 * pruned from here on; whoever carries the decision out stops it. Never changes `state`, which may be a JSON copy.
 */
export function evolvePruning(
  policy: PruningPolicy,
  state: PruningState,
  event: PruningEvent,
): PruningStep<PruningState> {
  switch (event.type) {
    case 'ended':
      return withStanding(state, event.trial, event.outcome);
    case 'revived':
      if (state.kind === 'none' || standingOf(state, event.trial) !== 'pruned') return ignore(state, 'NotPruned');
      return withStanding(state, event.trial, 'revived');
    case 'report':
      return evolveReport(policy, state, event);
    default:
      return assertNever(event);
  }
}

function evolveReport(policy: PruningPolicy, state: PruningState, report: TrialReport): PruningStep<PruningState> {
  if (!Number.isSafeInteger(report.step) || report.step < 0) return ignore(state, 'BadStep');
  if (state.kind !== 'none' && !isRunning(standingOf(state, report.trial))) return ignore(state, 'Late');
  if (report.value === null) return ignore(state, 'NoValue');
  const value = restored(report.value);
  switch (state.kind) {
    case 'none':
      return { state, decisions: [], ignored: null };
    case 'rungs':
      return rungReport(policy, state, report, value);
    case 'curves':
      return completedReport(policy, state, report, value);
    default:
      return assertNever(state);
  }
}

const ignore = (state: PruningState, ignored: IgnoredReason): PruningStep<PruningState> => ({
  state,
  decisions: [],
  ignored,
});

const isRunning = (standing: TrialStanding): boolean => standing === 'running' || standing === 'revived';

/** A trial nobody heard of is running. */
function standingOf(state: RungState | CurveState, trial: number): TrialStanding {
  return state.trials[trial]?.standing ?? 'running';
}

function withStanding(state: PruningState, trial: number, standing: TrialStanding): PruningStep<PruningState> {
  const unchanged = { state, decisions: [], ignored: null };
  switch (state.kind) {
    case 'none':
      return unchanged;
    case 'rungs': {
      const record = state.trials[trial] ?? { standing, lastStep: -1, best: null, nextRung: 0 };
      return { ...unchanged, state: { ...state, trials: { ...state.trials, [trial]: { ...record, standing } } } };
    }
    case 'curves': {
      const record = state.trials[trial] ?? { standing, steps: [], values: [] };
      // Only completed curves are compared with; a pruned one may go on.
      const kept = standing === 'failed' || standing === 'cancelled' ? { steps: [], values: [] } : record;
      return {
        ...unchanged,
        state: { ...state, trials: { ...state.trials, [trial]: { ...record, ...kept, standing } } },
      };
    }
    default:
      return assertNever(state);
  }
}
