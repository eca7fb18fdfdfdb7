import { assertNever, invariant } from '#lib/kernel/errors.ts';
import type { PruningSettings, SettingsOf } from '#lib/search-space/pruning-settings.ts';
import { asLoss } from '#lib/search-space/trial.ts';
import type {
  DecisionReason,
  PruningDecision,
  PruningPolicy,
  PruningStep,
  TrialReport,
  TrialStanding,
} from './pruning-event.ts';
import { restored, type StoredNumber, stored } from './stored-number.ts';

/** Keeps `floor(0.3 * 10)` at 3 when the product comes out as 2.9999999999999996. */
const SHARE_SLACK = 1e-9;

interface RungTrial {
  readonly standing: TrialStanding;
  /** Newest step reported, -1 before the first. */
  readonly lastStep: number;
  /** Best finite value so far. */
  readonly best: number | null;
  /** Index of the first rung it was not judged at. */
  readonly nextRung: number;
}

/** Rungs by index: what every trial that passed there was judged by, whatever became of it. Sparse: a rung nobody passed is absent. */
export interface RungState {
  readonly kind: 'rungs';
  readonly trials: Readonly<Record<number, RungTrial>>;
  readonly rungs: Readonly<Record<number, Readonly<Record<number, StoredNumber>>>>;
}

type RungSettings = SettingsOf<'livePercentile' | 'liveMedian' | 'asha'>;

export const startRungs = (): RungState => ({ kind: 'rungs', trials: {}, rungs: {} });

/**
 * Strategies that compare a trial with every other one that passed the same rung before it, running or not: they need no trial to be
 * complete. Between rungs nothing is judged. Ranks count strictly better values: who equals the last one kept is kept. A decision knows
 * only who came before, so it depends on the order of reports, and on nothing else.
 */
export function rungReport(
  policy: PruningPolicy,
  state: RungState,
  report: TrialReport,
  value: number,
): PruningStep<RungState> {
  const settings = rungSettings(policy.settings);
  const before = state.trials[report.trial] ?? { standing: 'running', lastStep: -1, best: null, nextRung: 0 };
  if (report.step <= before.lastStep) return { state, decisions: [], ignored: 'OutOfOrder' };
  const trial: RungTrial = {
    ...before,
    lastStep: report.step,
    best: betterOf(policy, before.best, value),
  };
  const isLast = report.plannedSteps !== undefined && report.step >= report.plannedSteps;
  const due = isLast ? [] : dueRungs(settings, trial.nextRung, report.step);
  let { rungs } = state;
  let decision: PruningDecision | null = null;
  let nextRung = trial.nextRung;
  for (const rung of due) {
    const judged = judge(policy, settings, rungs[rung] ?? {}, trial, report, value, rung);
    decision = trial.standing === 'revived' ? null : judged.decision;
    if (judged.recorded !== null) rungs = { ...rungs, [rung]: { ...rungs[rung], [report.trial]: judged.recorded } };
    nextRung = rung + 1;
    if (decision?.prune === true) break;
  }
  const standing = decision?.prune === true ? 'pruned' : trial.standing;
  return {
    state: { ...state, rungs, trials: { ...state.trials, [report.trial]: { ...trial, standing, nextRung } } },
    decisions: decision === null ? [] : [decision],
    ignored: null,
  };
}

/** Step at which a rung lies. */
function rungStep(settings: RungSettings, rung: number): number {
  return settings.strategy === 'asha'
    ? settings.minimumSteps * settings.reductionFactor ** rung
    : settings.warmUpSteps + rung * settings.everySteps;
}

/** asha: every rung passed since the last report, as Optuna does; the live rules: the newest one, missed checks are made up for once. */
function dueRungs(settings: RungSettings, next: number, step: number): number[] {
  if (rungStep(settings, next) > step) return [];
  if (settings.strategy !== 'asha') return [Math.floor((step - settings.warmUpSteps) / settings.everySteps)];
  const due: number[] = [];
  for (let rung = next; rungStep(settings, rung) <= step; rung++) due.push(rung);
  return due;
}

function judge(
  policy: PruningPolicy,
  settings: RungSettings,
  rung: Readonly<Record<number, StoredNumber>>,
  trial: RungTrial,
  report: TrialReport,
  value: number,
  index: number,
): { decision: PruningDecision; recorded: StoredNumber | null } {
  const isAsha = settings.strategy === 'asha';
  const judgedBy = isAsha ? value : (trial.best ?? value);
  const decide = (
    prune: boolean,
    reason: DecisionReason,
    compared: { threshold: StoredNumber | null; rank: number | null; peers: number },
  ): PruningDecision => ({
    trial: report.trial,
    prune,
    evidence: {
      strategy: settings.strategy,
      reason,
      step: report.step,
      checkStep: rungStep(settings, index),
      value: stored(judgedBy),
      ...compared,
    },
  });
  const peers = Object.values(rung).map((each) => asLoss(restored(each), policy.direction));
  // A metric that left the numbers does not come back: no comparison is needed. asha takes infinities for numbers, as Optuna does.
  const lost = Number.isNaN(value) ? 'NotANumber' : !isAsha && !Number.isFinite(value) ? 'Diverged' : null;
  if (lost !== null)
    return { decision: decide(true, lost, { threshold: null, rank: null, peers: peers.length }), recorded: null };

  const loss = asLoss(judgedBy, policy.direction);
  const all = [...peers, loss];
  const kept = keptOf(settings, all.length);
  const rank = 1 + peers.filter((peer) => peer < loss).length;
  const threshold = all.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))[kept - 1];
  invariant(threshold !== undefined, 'a rung keeps at least one trial');
  const tooFew = !isAsha && all.length < minimumOf(settings);
  const prune = !tooFew && rank > kept;
  const reason = tooFew ? 'TooFewPeers' : prune ? 'WorseThanPeers' : 'GoodEnough';
  return {
    decision: decide(prune, reason, {
      threshold: tooFew ? null : stored(asLoss(threshold, policy.direction)),
      rank,
      peers: peers.length,
    }),
    recorded: stored(judgedBy),
  };
}

/** How many of n trials at a rung go on, at least one. */
function keptOf(settings: RungSettings, n: number): number {
  switch (settings.strategy) {
    case 'asha':
      return Math.max(1, Math.floor(n / settings.reductionFactor));
    case 'livePercentile':
      return Math.max(1, n - Math.floor(n * settings.drop + SHARE_SLACK));
    case 'liveMedian':
      return Math.max(1, n - Math.floor(n / 2));
    default:
      return assertNever(settings);
  }
}

const minimumOf = (settings: RungSettings): number => (settings.strategy === 'asha' ? 1 : settings.minimumTrials);

function betterOf(policy: PruningPolicy, best: number | null, value: number): number | null {
  if (!Number.isFinite(value)) return best;
  if (best === null) return value;
  return asLoss(value, policy.direction) < asLoss(best, policy.direction) ? value : best;
}

function rungSettings(settings: PruningSettings): RungSettings {
  invariant(
    settings.strategy === 'livePercentile' || settings.strategy === 'liveMedian' || settings.strategy === 'asha',
    `${settings.strategy} has no rungs: the state belongs to another policy`,
  );
  return settings;
}
