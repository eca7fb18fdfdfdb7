import { invariant } from '#lib/kernel/errors.ts';
import { logCapitals, logMeanExp } from './betting.ts';
import { exceedsByMargin } from './two-arm-evidence.ts';
import { addMoments, areUnitMoments, meanOf, mirrored, NO_VALUES, type UnitMoments } from './unit-moments.ts';

export interface DegradationPolicy {
  /** Scores of the same model at its evaluation, unit scale, at least one. */
  readonly reference: UnitMoments;
  readonly higherIsBetter: boolean;
  /** Loss of the mean that is tolerated, unit scale, >= 0. At least the reference's standard error, or `change` takes its luck for a loss. */
  readonly margin: number;
  /** Chance that `lasting` is ever raised for a model that is not worse than tolerated, in (0, 1). */
  readonly alpha: number;
  /** Batches between false `change` alarms, on average at least. */
  readonly batchesBetweenFalseAlarms: number;
}

/** JSON; the same for any number of observations. */
export interface DegradationState {
  readonly batches: number;
  readonly production: UnitMoments;
  /** Log of the change detector's sum per stake; empty before the first batch. */
  readonly logSums: readonly number[];
}

export interface DegradationVerdict {
  /** Worse than tolerated over all observations, at level alpha under continuous looking; holds although the reference is a sample too. */
  readonly lasting: boolean;
  /** Worse than tolerated since some batch, however long all was well before. */
  readonly changed: boolean;
  readonly logLastingEvidence: number;
  readonly logChangeEvidence: number;
}

export const NO_PRODUCTION: DegradationState = { batches: 0, production: NO_VALUES, logSums: [] };

/**
 * One more batch of production scores (unit scale): state and verdict. Assumes that given the past each score's mean is at least the tolerated one while nothing is
 * wrong; scores may depend on each other and come late, as long as how late does not depend on the score. An empty batch changes nothing.
 * `lasting` is the two-arm betting test; `changed` the Shiryaev-Roberts e-detector, S <- (S + 1) x capital of the batch, whose mean time to
 * a false alarm is at least its threshold (Shin, Ramdas and Rinaldo 2024, section 3). Throws `InvariantViolation` for moments that no scores in [0, 1] have.
 */
export function watchPerformance(
  policy: DegradationPolicy,
  state: DegradationState,
  batch: UnitMoments,
): { readonly state: DegradationState; readonly verdict: DegradationVerdict } {
  invariant(areUnitMoments(batch) && areUnitMoments(policy.reference), 'scores lie in [0, 1]');
  invariant(policy.reference.count > 0 && policy.margin >= 0, 'a reference has scores and a margin is not negative');
  const next = batch.count === 0 ? state : advance(policy, state, batch);
  return { state: next, verdict: judge(policy, next) };
}

function advance(policy: DegradationPolicy, state: DegradationState, batch: UnitMoments): DegradationState {
  // As losses: lower is better, and H0 is "the mean loss is at most reference + margin".
  const tolerated = meanOf(losses(policy, policy.reference)) + policy.margin;
  const gains = logCapitals(losses(policy, batch), tolerated);
  const logSums = gains.map((gain, k) => logOnePlusExp(state.logSums[k] ?? -Infinity) + gain);
  return { batches: state.batches + 1, production: addMoments(state.production, batch), logSums };
}

function judge(policy: DegradationPolicy, state: DegradationState): DegradationVerdict {
  const lasting = exceedsByMargin(
    losses(policy, state.production),
    losses(policy, policy.reference),
    policy.margin,
    -Math.log(policy.alpha),
  );
  const change = state.logSums.length === 0 ? 0 : logMeanExp(state.logSums);
  return {
    lasting: lasting.proven,
    changed: state.batches > 0 && change >= Math.log(policy.batchesBetweenFalseAlarms),
    logLastingEvidence: lasting.logEvidence,
    logChangeEvidence: change,
  };
}

const losses = (policy: DegradationPolicy, scores: UnitMoments): UnitMoments =>
  policy.higherIsBetter ? mirrored(scores) : scores;

/** ln(1 + e^x) without overflow. */
const logOnePlusExp = (x: number): number => (x > 30 ? x : Math.log1p(Math.exp(x)));
