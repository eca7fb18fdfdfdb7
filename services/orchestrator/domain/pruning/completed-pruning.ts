import { invariant } from '#lib/kernel/errors.ts';
import type { PruningSettings, SettingsOf } from '#lib/search-space/pruning-settings.ts';
import type { Direction } from '#lib/search-space/trial.ts';
import type {
  PruningDecision,
  PruningEvidence,
  PruningPolicy,
  PruningStep,
  TrialReport,
  TrialStanding,
} from './pruning-event.ts';
import { restored, type StoredNumber, stored } from './stored-number.ts';

/** Steps and their values, in the order of the steps. */
interface CurveTrial {
  readonly standing: TrialStanding;
  readonly steps: readonly number[];
  readonly values: readonly StoredNumber[];
}

export interface CurveState {
  readonly kind: 'curves';
  readonly trials: Readonly<Record<number, CurveTrial>>;
}

type CompletedSettings = SettingsOf<'median' | 'percentile'>;

export const startCurves = (): CurveState => ({ kind: 'curves', trials: {} });

/**
 * Optuna 5's `PercentilePruner` and `MedianPruner`, to the last bit: the trial's best value so far against the percentile of the values
 * that completed trials reported at exactly its newest step. Nothing is pruned before trials complete, so with every trial running at
 * once it saves nothing. A step that was reported before keeps its first value; one that comes out of order counts.
 */
export function completedReport(
  policy: PruningPolicy,
  state: CurveState,
  report: TrialReport,
  value: number,
): PruningStep<CurveState> {
  const settings = completedSettings(policy.settings);
  const before = state.trials[report.trial] ?? { standing: 'running', steps: [], values: [] };
  if (before.steps.includes(report.step)) return { state, decisions: [], ignored: 'OutOfOrder' };
  const at = before.steps.findLastIndex((step) => step < report.step) + 1;
  const trial: CurveTrial = {
    ...before,
    steps: before.steps.toSpliced(at, 0, report.step),
    values: before.values.toSpliced(at, 0, stored(value)),
  };
  const isLast = report.plannedSteps !== undefined && report.step >= report.plannedSteps;
  const decision =
    trial.standing === 'revived' || isLast ? null : judge(settings, policy.direction, state, report.trial, trial);
  const standing = decision?.prune === true ? 'pruned' : trial.standing;
  return {
    state: { ...state, trials: { ...state.trials, [report.trial]: { ...trial, standing } } },
    decisions: decision === null ? [] : [decision],
    ignored: null,
  };
}

function judge(
  settings: CompletedSettings,
  direction: Direction,
  state: CurveState,
  number: number,
  trial: CurveTrial,
): PruningDecision | null {
  const step = trial.steps.at(-1);
  if (step === undefined || !isCheckDue(settings, trial.steps, step)) return null;
  const completed = Object.values(state.trials).filter(({ standing }) => standing === 'completed');
  const best = bestOf(trial.values.map(restored), direction);
  const decide = (prune: boolean, evidence: Pick<PruningEvidence, 'reason' | 'threshold' | 'rank' | 'peers'>) => ({
    trial: number,
    prune,
    evidence: { strategy: settings.strategy, step, checkStep: step, value: stored(best), ...evidence },
  });
  if (completed.length === 0 || completed.length < settings.startupTrials)
    return decide(false, { reason: 'TooFewCompleted', threshold: null, rank: null, peers: completed.length });
  const peers = completed.flatMap(({ steps, values }) => {
    const value = values[steps.indexOf(step)];
    return value === undefined ? [] : [restored(value)];
  });
  if (Number.isNaN(best))
    return decide(true, { reason: 'NotANumber', threshold: null, rank: null, peers: peers.length });
  const isWorse = (a: number, b: number): boolean => (direction === 'maximize' ? a < b : a > b);
  const percent = settings.strategy === 'median' ? 50 : settings.percentile;
  const threshold =
    peers.length < settings.minimumPeers
      ? Number.NaN
      : percentile(peers, direction === 'maximize' ? 100 - percent : percent);
  if (Number.isNaN(threshold))
    return decide(false, { reason: 'TooFewPeers', threshold: null, rank: null, peers: peers.length });
  const prune = isWorse(best, threshold);
  return decide(prune, {
    reason: prune ? 'WorseThanPeers' : 'GoodEnough',
    threshold: stored(threshold),
    rank: 1 + peers.filter((peer) => isWorse(best, peer)).length,
    peers: peers.length,
  });
}

/** True for the first report at or after each check point: one that was missed is made up for by the next report. */
function isCheckDue(settings: CompletedSettings, steps: readonly number[], step: number): boolean {
  const { warmUpSteps, everySteps } = settings;
  if (step < warmUpSteps) return false;
  const checkPoint = Math.floor((step - warmUpSteps) / everySteps) * everySteps + warmUpSteps;
  return (steps.at(-2) ?? -1) < checkPoint;
}

/** The best number among the values; NaN when none is one. */
function bestOf(values: readonly number[], direction: Direction): number {
  const numbers = values.filter((value) => !Number.isNaN(value));
  if (numbers.length === 0) return Number.NaN;
  return numbers.reduce((a, b) => (direction === 'maximize' ? Math.max(a, b) : Math.min(a, b)));
}

/**
 * numpy's `nanpercentile` (method `linear`), operation by operation: equal inputs have to give equal thresholds, because equal is
 * kept. Next to an infinite value the interpolation may be NaN, and then nothing is pruned.
 */
function percentile(values: readonly number[], percent: number): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const last = sorted.length - 1;
  const virtual = last * (percent / 100);
  const isAbove = virtual >= last;
  const previous = isAbove ? last : Math.floor(virtual);
  const a = sorted[previous] ?? Number.NaN;
  const b = sorted[isAbove ? last : previous + 1] ?? Number.NaN;
  const gamma = isAbove ? 1 : virtual - previous;
  return gamma >= 0.5 ? b - (b - a) * (1 - gamma) : a + (b - a) * gamma;
}

function completedSettings(settings: PruningSettings): CompletedSettings {
  invariant(
    settings.strategy === 'median' || settings.strategy === 'percentile',
    `${settings.strategy} keeps no curves: the state belongs to another policy`,
  );
  return settings;
}
