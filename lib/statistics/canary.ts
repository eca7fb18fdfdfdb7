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

/** JSON; the same size for any number of intervals. */
export interface CanaryState {
  readonly startedAtMs: number;
  readonly lastSequence: number;
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
  arms: {},
  outcome: 'running',
  decidedAtMs: null,
  reports: [],
});

/**
 * One look. `fail`: for some metric it is proven, at falseFailRate / number of metrics, that the canary is beyond its tolerance. `pass`: after the minimum duration
 * with the minimum sample it is proven for every metric, at falsePassRate, that it is within. `inconclusive`: neither until the maximum duration. A
 * metric without values never passes. Looking more often changes no error rate. Assumes that traffic is split by chance with a constant share,
 * so that both arms see the same mix. A decided state, a repeated interval and one from before the start are returned as they are; moments
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
  const decidedAtMs = outcome === 'running' ? null : interval.endsAtMs;
  return { ok: true, state: { ...state, lastSequence: interval.sequence, arms, outcome, decidedAtMs, reports } };
}

function decide(policy: CanaryPolicy, reports: readonly MetricReport[], elapsedMs: number): CanaryOutcome {
  if (reports.some(({ standing }) => standing === 'Harmful')) return 'fail';
  if (elapsedMs >= policy.minimumDurationMs && reports.every(({ standing }) => standing === 'Harmless')) return 'pass';
  return elapsedMs >= policy.maximumDurationMs ? 'inconclusive' : 'running';
}

function report(policy: CanaryPolicy, metric: CanaryMetric, arms: CanaryArms | undefined): MetricReport {
  const { canary, baseline } = arms ?? { canary: NO_VALUES, baseline: NO_VALUES };
  const harmAt = -Math.log(policy.falseFailRate / policy.metrics.length);
  const harmlessAt = -Math.log(policy.falsePassRate);
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
