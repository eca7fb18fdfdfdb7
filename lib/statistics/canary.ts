import { assertNever } from '#lib/kernel/errors.ts';
import { logEvidenceAbove, logEvidenceBelow } from './betting.ts';
import type { CanaryMetric, CanaryPolicy } from './canary-policy.ts';
import { exceedsByMargin } from './two-arm-evidence.ts';
import { addMoments, areUnitMoments, meanOf, mirrored, NO_VALUES, type UnitMoments } from './unit-moments.ts';

/** Both arms over the same time. */
export interface CanaryArms {
  readonly canary: UnitMoments;
  readonly baseline: UnitMoments;
}

/** What one look brings: values since the look before. A metric that nobody could measure is absent. */
export interface CanaryInterval {
  /** From 1; one that was seen is ignored, so a look may be repeated. */
  readonly sequence: number;
  readonly endsAtMs: number;
  /** Some values of this period are those of units that may come again: a new period lets them. */
  readonly unitsSeen: boolean;
  readonly arms: Readonly<Record<string, CanaryArms>>;
}

/** `running`, or final: the first decision stays. */
export type CanaryOutcome = 'running' | 'pass' | 'fail' | 'inconclusive';

export const METRIC_STANDINGS = ['Harmful', 'Harmless', 'NotProven', 'TooFewValues', 'MetricMissing'] as const;
export type MetricStanding = (typeof METRIC_STANDINGS)[number];

export interface MetricReport {
  readonly metric: string;
  readonly standing: MetricStanding;
  readonly canaryCount: number;
  readonly baselineCount: number;
  /** Unit scale; null of nothing. */
  readonly canaryMean: number | null;
  readonly baselineMean: number | null;
  /** Natural log of the evidence that the canary is beyond, and within, its tolerance. */
  readonly logHarmEvidence: number;
  readonly logHarmlessEvidence: number;
}

/**
 * Equal parts of the maximum duration at most. Keys are sticky: a user who always fails is in one arm for good, and counting each of his answers would
 * make one user's luck a proof. So a unit (a user) counts once in a period, and a period's evidence is its own: what goes wrong later is seen
 * later. The rates are shared out among the periods. Without units one period lasts until the end.
 */
export const CANARY_PERIODS = 4;

/** JSON; the same size for any number of intervals. */
export interface CanaryState {
  readonly startedAtMs: number;
  readonly lastSequence: number;
  /** 0 to `CANARY_PERIODS` - 1. */
  readonly period: number;
  /** Of the period. */
  readonly arms: Readonly<Record<string, CanaryArms>>;
  readonly outcome: CanaryOutcome;
  readonly decidedAtMs: number | null;
  readonly reports: readonly MetricReport[];
}

export type CanaryStep =
  | { readonly ok: true; readonly state: CanaryState }
  | { readonly ok: false; readonly reason: string };

export const startCanary = (startedAtMs: number): CanaryState => ({
  startedAtMs,
  lastSequence: 0,
  period: 0,
  arms: {},
  outcome: 'running',
  decidedAtMs: null,
  reports: [],
});

/**
 * One look. `fail`: for some metric it is proven, at falseFailRate / (metrics x periods), that the canary is beyond its tolerance. `pass`: after the minimum duration
 * with the minimum sample it is proven for every metric, at falsePassRate / periods, that it is within. `inconclusive`: neither until the maximum duration. A
 * metric without values never passes. Looking more often changes no error rate. Assumes that traffic is split by chance with a constant share,
 * so that both arms see the same mix, and that no unit gives two values in a period (`CANARY_PERIODS`). A decided state, a repeated interval and one from before the start are returned as they are; moments
 * that no values in [0, 1] have are refused and change nothing.
 */
export function lookAtCanary(policy: CanaryPolicy, state: CanaryState, interval: CanaryInterval): CanaryStep {
  if (state.outcome !== 'running' || interval.sequence <= state.lastSequence) return { ok: true, state };
  const arms: Record<string, CanaryArms> = { ...state.arms };
  for (const { name } of policy.metrics) {
    const seen = interval.arms[name];
    if (seen === undefined) continue;
    if (!areUnitMoments(seen.canary) || !areUnitMoments(seen.baseline))
      return { ok: false, reason: `arms.${name}: values lie in [0, 1]` };
    const before = arms[name] ?? { canary: NO_VALUES, baseline: NO_VALUES };
    arms[name] = {
      canary: addMoments(before.canary, seen.canary),
      baseline: addMoments(before.baseline, seen.baseline),
    };
  }
  const reports = policy.metrics.map((metric) => report(policy, metric, arms[metric.name]));
  const outcome = decide(policy, reports, interval.endsAtMs - state.startedAtMs);
  const seen = { ...state, lastSequence: interval.sequence, outcome, reports };
  if (outcome !== 'running') return { ok: true, state: { ...seen, arms, decidedAtMs: interval.endsAtMs } };
  const period = periodAfter(policy, state, interval);
  return { ok: true, state: { ...seen, period, arms: period === state.period ? arms : {} } };
}

/** The next one when this one is over. A period in which nobody can come again goes on: it loses nothing. */
function periodAfter(policy: CanaryPolicy, { period, startedAtMs }: CanaryState, interval: CanaryInterval): number {
  const over = interval.endsAtMs - startedAtMs >= (period + 1) * (policy.maximumDurationMs / CANARY_PERIODS);
  return over && interval.unitsSeen && period < CANARY_PERIODS - 1 ? period + 1 : period;
}

function decide(policy: CanaryPolicy, reports: readonly MetricReport[], elapsedMs: number): CanaryOutcome {
  if (reports.some(({ standing }) => standing === 'Harmful')) return 'fail';
  if (elapsedMs >= policy.minimumDurationMs && reports.every(({ standing }) => standing === 'Harmless')) return 'pass';
  return elapsedMs >= policy.maximumDurationMs ? 'inconclusive' : 'running';
}

function report(policy: CanaryPolicy, metric: CanaryMetric, arms: CanaryArms | undefined): MetricReport {
  const { canary, baseline } = arms ?? { canary: NO_VALUES, baseline: NO_VALUES };
  const harmAt = -Math.log(policy.falseFailRate / (policy.metrics.length * CANARY_PERIODS));
  const harmlessAt = -Math.log(policy.falsePassRate / CANARY_PERIODS);
  const evidence = evidenceOf(metric, canary, baseline, harmAt, harmlessAt);
  const needed = metric.against === 'baseline' ? [canary.count, baseline.count] : [canary.count];
  return {
    metric: metric.name,
    standing: standing(evidence, Math.min(...needed), policy.minimumSample),
    canaryCount: canary.count,
    baselineCount: baseline.count,
    canaryMean: canary.count === 0 ? null : meanOf(canary),
    baselineMean: baseline.count === 0 ? null : meanOf(baseline),
    logHarmEvidence: evidence.harm.logEvidence,
    logHarmlessEvidence: evidence.harmless.logEvidence,
  };
}

interface Evidence {
  readonly harm: { readonly proven: boolean; readonly logEvidence: number };
  readonly harmless: { readonly proven: boolean; readonly logEvidence: number };
}

function standing({ harm, harmless }: Evidence, fewest: number, minimumSample: number): MetricStanding {
  if (harm.proven) return 'Harmful';
  if (fewest === 0) return 'MetricMissing';
  if (fewest < minimumSample) return 'TooFewValues';
  return harmless.proven ? 'Harmless' : 'NotProven';
}

/** Everything as "higher is worse": a score is mirrored. */
function evidenceOf(
  metric: CanaryMetric,
  canary: UnitMoments,
  baseline: UnitMoments,
  harmAt: number,
  harmlessAt: number,
): Evidence {
  const [worse, control] = metric.higherIsBetter ? [mirrored(canary), mirrored(baseline)] : [canary, baseline];
  switch (metric.against) {
    case 'baseline':
      return {
        harm: exceedsByMargin(worse, control, metric.tolerance, harmAt),
        harmless: exceedsByMargin(mirrored(worse), mirrored(control), -metric.tolerance, harmlessAt),
      };
    case 'limit': {
      const limit = metric.higherIsBetter ? 1 - metric.limit : metric.limit;
      const [above, below] = [logEvidenceAbove(worse, limit), logEvidenceBelow(worse, limit)];
      return {
        harm: { proven: above >= harmAt, logEvidence: above },
        harmless: { proven: below >= harmlessAt, logEvidence: below },
      };
    }
    default:
      return assertNever(metric);
  }
}
