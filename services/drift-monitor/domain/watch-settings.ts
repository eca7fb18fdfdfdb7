import { Value } from '#typebox/value';
import { DriftSettings, RetrainPolicy } from '#lib/contracts/retrain-policy.ts';
import type { DriftPolicy } from './drift-decider.ts';
import type { WatchSettings } from './model-watch.ts';

/** What a model's policy says, in the words of the watch and of the decider. */
export interface ModelSettings {
  readonly watch: WatchSettings;
  readonly drift: DriftPolicy;
}

/**
 * The settings of a stored policy; those of the defaults without one, and with one that a former release stored and this one cannot read: drift is
 * then watched, and nothing is trained.
 */
export function settingsOf(
  stored: { readonly policy: unknown; readonly enabled: boolean } | null,
  observationsPerWindow: number,
): ModelSettings {
  const filled = stored === null ? null : Value.Default(RetrainPolicy, Value.Clone(stored.policy));
  const readable = filled !== null && Value.Check(RetrainPolicy, filled);
  const drift: DriftSettings = readable ? filled.drift : (Value.Default(DriftSettings, {}) as DriftSettings);
  return {
    watch: {
      windowMs: drift.windowMs,
      latenessMs: drift.latenessMs,
      falseDiscoveryRate: drift.falseAlarmRate,
      minimumObservations: drift.minimumObservations,
      smallestDistance: drift.smallestDistance,
      performanceMargin: drift.performanceMargin,
      windowsBetweenFalseDegradations: drift.windowsBetweenFalseDegradations,
      observationsPerWindow,
    },
    drift: {
      enabled: readable && stored !== null && stored.enabled,
      persistentWindows: drift.persistentWindows,
      cooldownMs: drift.cooldownMs,
      signalBudget: drift.signalBudget,
      budgetPeriodMs: drift.budgetPeriodMs,
      retrainTimeoutMs: drift.retrainTimeoutMs,
    },
  };
}
