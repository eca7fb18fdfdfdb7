import type { ObservationRecorded } from '#lib/contracts/generated/messages.ts';

/** An observation that can be stored. */
export interface Observation extends Omit<ObservationRecorded, 'featuresJson'> {
  /** A JSON object. */
  readonly featuresJson: string;
}

/** How far ahead of our clock an observation may be: model servers' clocks differ, but data from tomorrow would sit in no window. */
export const MAX_CLOCK_SKEW_MS = 300_000;

export type ObservationVerdict =
  | { readonly ok: true; readonly observation: Observation }
  | { readonly ok: false; readonly reason: string };

/** Accepts or refuses one observation. Old ones are accepted: labels and late reports come when they come. */
export function acceptObservation(observation: ObservationRecorded, nowMs: number): ObservationVerdict {
  if (observation.observationId === '') return refuse('observationId is empty');
  if (observation.modelVersion < 1) return refuse('modelVersion is below 1');
  if (observation.observedAtMs > nowMs + MAX_CLOCK_SKEW_MS) return refuse('observedAtMs is in the future');
  if (observation.score !== null && !Number.isFinite(observation.score)) return refuse('score is not a finite number');
  if (!isJsonObject(observation.featuresJson)) return refuse('featuresJson is not a JSON object');
  return { ok: true, observation };
}

const refuse = (reason: string): ObservationVerdict => ({ ok: false, reason });

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
