import type { PruningSettings, PruningStrategy } from '#lib/search-space/pruning-settings.ts';
import type { Direction } from '#lib/search-space/trial.ts';
import type { StoredNumber } from './stored-number.ts';

export interface PruningPolicy {
  readonly settings: PruningSettings;
  readonly direction: Direction;
}

export interface TrialReport {
  readonly type: 'report';
  /** Trial number, from 0. */
  readonly trial: number;
  /** Training steps done, an integer >= 0. */
  readonly step: number;
  /** The metric of the search at this step; null when the report does not have it. */
  readonly value: StoredNumber | null;
  /** Steps the trial will do at all. A report at or beyond it never prunes: nothing would be saved, and a result lost. */
  readonly plannedSteps?: number;
}

/** What the parent learns about its trials, in the order of its log. */
export type PruningEvent =
  | TrialReport
  | { readonly type: 'ended'; readonly trial: number; readonly outcome: 'completed' | 'failed' | 'cancelled' }
  /** A person let a pruned trial go on: it is compared with no more, and never pruned again. */
  | { readonly type: 'revived'; readonly trial: number };

export type TrialStanding = 'running' | 'pruned' | 'revived' | 'completed' | 'failed' | 'cancelled';

export type DecisionReason =
  | 'GoodEnough'
  | 'WorseThanPeers'
  | 'NotANumber'
  | 'Diverged'
  | 'TooFewPeers'
  | 'TooFewCompleted';

/** The numbers that were compared. `threshold` and `rank` are null where nothing was to compare with. */
export interface PruningEvidence {
  readonly strategy: PruningStrategy;
  readonly reason: DecisionReason;
  /** Of the report that was judged. */
  readonly step: number;
  /** The check it was judged at: a rung, or the step itself. */
  readonly checkStep: number;
  /** What was compared: the best value so far, with `asha` the newest. */
  readonly value: StoredNumber;
  /** Worse than this is pruned; equal is kept. */
  readonly threshold: StoredNumber | null;
  /** 1 = best of the trials at this check, equals share the better rank. */
  readonly rank: number | null;
  /** Other trials it was compared with. */
  readonly peers: number;
}

export interface PruningDecision {
  readonly trial: number;
  readonly prune: boolean;
  readonly evidence: PruningEvidence;
}

/**
 * Why an event changed nothing: `Late`: the trial is over or pruned; `OutOfOrder`: a step at or before one seen (an attempt that
 * resumed from a checkpoint repeats steps); `NoValue`; `BadStep`: no integer >= 0; `NotPruned`: nothing to revive.
 */
export type IgnoredReason = 'Late' | 'OutOfOrder' | 'NoValue' | 'BadStep' | 'NotPruned';

export interface PruningStep<State> {
  readonly state: State;
  /** At most one: about the trial of the report, and only when a check was due. */
  readonly decisions: readonly PruningDecision[];
  readonly ignored: IgnoredReason | null;
}
