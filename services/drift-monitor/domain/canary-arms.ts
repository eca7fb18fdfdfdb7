import type { CanarySettings } from '#lib/contracts/release.ts';
import type { ObservationRecorded } from '#lib/contracts/generated/messages.ts';
import type { CanaryArms } from '#lib/statistics/canary.ts';
import type { CanaryPolicy } from '#lib/statistics/canary-policy.ts';
import { addMoments, NO_VALUES } from '#lib/statistics/unit-moments.ts';

const HOUR_MS = 3_600_000;

/** What of a traffic split decides to which arm an observation belongs. */
export interface WatchedArms {
  readonly canaryVersion: number;
  readonly baselineVersion: number;
  readonly startedAtMs: number;
}

/** One answer of one arm: the value in [0, 1] of every metric that could be measured. */
export interface ArmValues {
  readonly observationId: string;
  /** Whose answers are all in this arm; null: dealt on its own. */
  readonly unit: string | null;
  readonly arm: 'canary' | 'baseline';
  readonly values: Readonly<Record<string, number>>;
}

/** Moments of both arms since the last look, by metric. */
export type SinceLook = Readonly<Record<string, CanaryArms>>;

/** The settings in the units of the test. */
export const policyOf = (settings: CanarySettings): CanaryPolicy => ({
  metrics: settings.metrics,
  falseFailRate: settings.falseFailRate,
  falsePassRate: settings.falsePassRate,
  minimumSample: settings.minimumSample,
  minimumDurationMs: Math.round(settings.minimumHours * HOUR_MS),
  maximumDurationMs: Math.max(1, Math.round(settings.maximumHours * HOUR_MS)),
});

/** Looks are free of cost for the error rates; a long canary needs none more often than this. */
const LONGEST_INTERVAL_MS = 60_000;
const SHORTEST_INTERVAL_MS = 1_000;

/** A hundredth of the longest duration, between a second and a minute. */
export const lookEveryMs = (policy: CanaryPolicy): number =>
  Math.min(LONGEST_INTERVAL_MS, Math.max(SHORTEST_INTERVAL_MS, policy.maximumDurationMs / 100));

/**
 * What an observation says about a split; null when it belongs to neither arm: another version, from before the start, or one whose feature `arm` says
 * that the split did not deal it (a client that named its version, a gateway that had not heard yet): arms are compared as chance filled them.
 *
 * Metrics: `error_rate` from the feature `failed` (0 or 1, or a boolean), `slow_rate` from `latencyMs` against the limit, `score` from the score; any
 * other name is a numeric feature of that name in [0, 1]. What is not there is not measured.
 */
export function armValues(
  split: WatchedArms,
  settings: Pick<CanarySettings, 'metrics' | 'latencyLimitMs'>,
  observation: ObservationRecorded,
): ArmValues | null {
  const { modelVersion, observationId, routingUnit } = observation;
  const arm =
    modelVersion === split.canaryVersion ? 'canary' : modelVersion === split.baselineVersion ? 'baseline' : null;
  if (arm === null || observation.observedAtMs < split.startedAtMs) return null;
  const features = featuresOf(observation.featuresJson);
  if (typeof features['arm'] === 'string' && features['arm'] !== arm) return null;
  const measured = settings.metrics.flatMap(({ name }): [string, number][] => {
    const value = measure(name, settings.latencyLimitMs, features, observation.score);
    return value === null ? [] : [[name, value]];
  });
  return { observationId, unit: routingUnit, arm, values: Object.fromEntries(measured) };
}

function measure(
  metric: string,
  latencyLimitMs: number,
  features: Readonly<Record<string, unknown>>,
  score: number | null,
): number | null {
  switch (metric) {
    case 'error_rate':
      return unit(features['failed']);
    case 'slow_rate': {
      const latencyMs = features['latencyMs'];
      return typeof latencyMs === 'number' ? Number(latencyMs > latencyLimitMs) : null;
    }
    case 'score':
      return unit(score);
    default:
      return unit(features[metric]);
  }
}

/** Clamped to [0, 1]; null for what is no number. */
function unit(value: unknown): number | null {
  if (typeof value === 'boolean') return Number(value);
  if (typeof value !== 'number' || !Number.isFinite(value)) return null;
  return Math.min(1, Math.max(0, value));
}

function featuresOf(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Adds answers to what was seen since the last look; the order does not matter. */
export function addAnswers(since: SinceLook, answers: readonly ArmValues[]): SinceLook {
  const arms: Record<string, CanaryArms> = { ...since };
  for (const { arm, values } of answers)
    for (const [metric, value] of Object.entries(values)) {
      const before = arms[metric] ?? { canary: NO_VALUES, baseline: NO_VALUES };
      const one = { count: 1, sum: value, sumOfSquares: value * value };
      arms[metric] = { ...before, [arm]: addMoments(before[arm], one) };
    }
  return arms;
}
