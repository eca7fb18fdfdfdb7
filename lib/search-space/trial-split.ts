import { asLoss, type Direction, objectiveOf, type Trial } from './trial.ts';

const MOST_GOOD = 25;

export interface TrialSplit {
  /** The best tenth of the finished trials, at most 25, by trial number. */
  readonly good: readonly Trial[];
  /** The others and the running ones (the constant liar), by trial number. */
  readonly bad: readonly Trial[];
  /** Completed with a value, or pruned. */
  readonly finished: number;
}

/**
 * Splits trials as Optuna 5 does: completed before pruned; completed by objective; pruned by the step they reached (further first),
 * then by their last value, those that never reported last. Ties: by trial number. Failed trials count nowhere.
 */
export function splitTrials(history: readonly Trial[], direction: Direction): TrialSplit {
  const trials = history.toSorted((a, b) => a.number - b.number);
  const completed = trials.flatMap((trial) => {
    const value = objectiveOf(trial);
    return value === null ? [] : [{ trial, loss: asLoss(value, direction) }];
  });
  const pruned = trials.filter(({ outcome }) => outcome === 'pruned').map((trial) => prunedScore(trial, direction));
  completed.sort((a, b) => a.loss - b.loss);
  pruned.sort((a, b) => b.step - a.step || compare(a.loss, b.loss));
  const ranked = [...completed, ...pruned].map(({ trial }) => trial);
  const good = new Set(ranked.slice(0, Math.min(Math.ceil(0.1 * ranked.length), MOST_GOOD)));
  const running = new Set(trials.filter(({ outcome }) => outcome === 'running'));
  const ranks = new Set(ranked);
  return {
    good: trials.filter((trial) => good.has(trial)),
    bad: trials.filter((trial) => running.has(trial) || (ranks.has(trial) && !good.has(trial))),
    finished: ranked.length,
  };
}

/** A curve that ended in "not a number" is the worst of its step; one that never reported comes after all others (step -1). */
function prunedScore(trial: Trial, direction: Direction): { trial: Trial; step: number; loss: number } {
  if (trial.lastReport === null) return { trial, step: -1, loss: 0 };
  const { step, value } = trial.lastReport;
  return { trial, step, loss: value === null || Number.isNaN(value) ? Infinity : asLoss(value, direction) };
}

/** Infinities compare, where a difference would be "not a number". */
const compare = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);
