import type { ObservationRecorded } from '#lib/contracts/generated/messages.ts';
import type { FeatureRow } from '#lib/statistics/build-reference-profile.ts';

/** An observation that can be stored. */
export interface Observation extends Omit<ObservationRecorded, 'featuresJson'> {
  /** A JSON object. */
  readonly featuresJson: string;
}

/** How far ahead of our clock an observation may be: model servers' clocks differ, but data from tomorrow would sit in no window. */
export const MAX_CLOCK_SKEW_MS = 300_000;

/** Ids and names are keys of an index, whose rows hold 2,700 bytes. */
const MAX_KEY_LENGTHS = { observationId: 200, project: 100, model: 100, routingUnit: 200 } as const;

export type ObservationVerdict =
  | { readonly ok: true; readonly observation: Observation; readonly features: FeatureRow }
  | { readonly ok: false; readonly reason: string };

/** Accepts or refuses one observation. Old ones are accepted: labels and late reports come when they come. */
export function acceptObservation(observation: ObservationRecorded, nowMs: number): ObservationVerdict {
  if (observation.observationId === '') return refuse('observationId is empty');
  for (const field of ['observationId', 'project', 'model', 'routingUnit'] as const)
    if ((observation[field] ?? '').length > MAX_KEY_LENGTHS[field])
      return refuse(`${field} has more than ${MAX_KEY_LENGTHS[field]} characters`);
  if (observation.modelVersion < 1) return refuse('modelVersion is below 1');
  if (observation.observedAtMs < 0) return refuse('observedAtMs is below 0');
  if (observation.observedAtMs > nowMs + MAX_CLOCK_SKEW_MS) return refuse('observedAtMs is in the future');
  if (observation.score !== null && !Number.isFinite(observation.score)) return refuse('score is not a finite number');
  for (const field of ['observationId', 'project', 'model', 'prediction', 'label', 'routingUnit'] as const)
    if (!isStorable(observation[field] ?? '')) return refuse(`${field} holds NUL or half a surrogate pair`);
  const features = featuresOf(observation.featuresJson);
  if (features === null) return refuse('featuresJson is not a JSON object of storable text');
  return { ok: true, observation, features };
}

const refuse = (reason: string): ObservationVerdict => ({ ok: false, reason });

/** PostgreSQL's text and jsonb take neither; one such row would hold up all that come after it. */
const isStorable = (text: string): boolean => !text.includes('\u0000') && text.isWellFormed();

function featuresOf(text: string): FeatureRow | null {
  if (!isStorable(text)) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    // What is storable as text can become unstorable by an escape only; looking at every member costs three times the parsing.
    return !text.includes('\\u') || holdsStorable(text) ? (value as FeatureRow) : null;
  } catch {
    return null;
  }
}

function holdsStorable(text: string): boolean {
  let storable = true;
  JSON.parse(text, (key, member: unknown) => {
    storable &&= isStorable(key) && (typeof member !== 'string' || isStorable(member));
    return member;
  });
  return storable;
}
