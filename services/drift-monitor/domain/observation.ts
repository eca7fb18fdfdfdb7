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
  for (const field of ['observationId', 'project', 'model', 'prediction', 'label'] as const)
    if (!isStorable(observation[field] ?? '')) return refuse(`${field} holds NUL or half a surrogate pair`);
  if (!isJsonObject(observation.featuresJson)) return refuse('featuresJson is not a JSON object of storable text');
  return { ok: true, observation };
}

const refuse = (reason: string): ObservationVerdict => ({ ok: false, reason });

/** PostgreSQL's text and jsonb take neither; one such row would hold up all that come after it. */
const isStorable = (text: string): boolean => !text.includes('\u0000') && text.isWellFormed();

function isJsonObject(text: string): boolean {
  try {
    let storable = isStorable(text);
    const value: unknown = JSON.parse(text, (key, member: unknown) => {
      storable &&= isStorable(key) && (typeof member !== 'string' || isStorable(member));
      return member;
    });
    return storable && typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
