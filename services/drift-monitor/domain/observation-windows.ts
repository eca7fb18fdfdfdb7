import type { Observation } from './observation.ts';

export interface WindowPolicy {
  /** Length of a window; windows begin at its multiples since the epoch. */
  readonly windowMs: number;
  /** How long a window stays open after its end for what arrives late or out of order. */
  readonly latenessMs: number;
}

/** JSON; one per model version. */
export interface WindowState {
  /** Time up to which, less the lateness, everything is taken to have arrived. Never goes back. Null before the first observation. */
  readonly watermarkMs: number | null;
  /** Newest observation that was counted: what is older came out of order. */
  readonly newestMs: number | null;
  /** Begins of the windows with observations that are not closed, ascending; at most latenessMs / windowMs + 2 of them. */
  readonly open: readonly number[];
}

export const NO_WINDOWS: WindowState = { watermarkMs: null, newestMs: null, open: [] };

/** What is stored of an observation that came before. */
export interface KnownObservation {
  readonly label: string | null;
}

/** Nothing but a label: no features and no prediction. */
const isBareLabel = ({ label, prediction, featuresJson }: Observation): boolean =>
  label !== null && prediction === '' && /^\s*\{\s*\}\s*$/.test(featuresJson);

/** How an observation was taken: shown as counts. */
export const STANDINGS = [
  'inTime',
  'outOfOrder',
  'tooLate',
  'duplicate',
  'lateLabel',
  'conflictingLabel',
  'orphanLabel',
] as const;
export type Standing = (typeof STANDINGS)[number];

export interface AssignedObservation {
  readonly observation: Observation;
  readonly standing: Standing;
  /** Begin of the window its features count in; null when they count in none (again). */
  readonly windowStartMs: number | null;
}

export interface WindowAssignment {
  readonly state: WindowState;
  /** In the order of the batch. */
  readonly assigned: readonly AssignedObservation[];
  /** Begins of the windows that this batch closed, ascending: judge them now. */
  readonly closed: readonly number[];
  readonly counts: Readonly<Record<Standing, number>>;
}

/**
 * Puts a batch of one model version's observations into windows by the time they were observed. `known` holds what is stored of the batch's ids; within the batch
 * the first of an id wins. A label that comes later (`lateLabel`) belongs to the performance of its model, not to a window again; a
 * second, different label changes nothing; a bare label whose observation is not there (`orphanLabel`: it was never seen, or is no longer kept) is only counted, for
 * as an observation it would be one with every feature missing. `caughtUp`: nothing waits on the bus, so the clock may close the last window of a model that
 * fell silent; while a backlog is read only the observations' own times close windows.
 */
export function assignToWindows(
  policy: WindowPolicy,
  before: WindowState,
  batch: readonly Observation[],
  known: ReadonlyMap<string, KnownObservation>,
  now: { readonly nowMs: number; readonly caughtUp: boolean },
): WindowAssignment {
  const counts = {
    inTime: 0,
    outOfOrder: 0,
    tooLate: 0,
    duplicate: 0,
    lateLabel: 0,
    conflictingLabel: 0,
    orphanLabel: 0,
  };
  const seen = new Map(known);
  const open = new Set(before.open);
  const assigned: AssignedObservation[] = [];
  let { watermarkMs, newestMs } = before;
  for (const observation of batch) {
    const standing =
      repeated(observation, seen.get(observation.observationId)) ??
      (isBareLabel(observation) ? 'orphanLabel' : null) ??
      timeliness(policy, observation.observedAtMs, watermarkMs, newestMs);
    counts[standing]++;
    const inWindow = standing === 'inTime' || standing === 'outOfOrder';
    const windowStartMs = inWindow ? windowOf(policy, observation.observedAtMs) : null;
    assigned.push({ observation, standing, windowStartMs });
    if (standing !== 'duplicate' && standing !== 'conflictingLabel' && standing !== 'orphanLabel')
      seen.set(observation.observationId, { label: observation.label });
    if (windowStartMs === null) continue;
    open.add(windowStartMs);
    newestMs = Math.max(newestMs ?? -Infinity, observation.observedAtMs);
    // One clock that runs ahead must not close the windows of all others.
    watermarkMs = Math.max(watermarkMs ?? -Infinity, Math.min(observation.observedAtMs, now.nowMs));
  }
  if (now.caughtUp && watermarkMs !== null) watermarkMs = Math.max(watermarkMs, now.nowMs);
  const begins = [...open].sort((a, b) => a - b);
  const closed = begins.filter((start) => isClosed(policy, start, watermarkMs));
  const state = { watermarkMs, newestMs, open: begins.slice(closed.length) };
  return { state, assigned, closed, counts };
}

/** Begin of the window that holds a time; epoch ms, 0 or more. */
export const windowOf = ({ windowMs }: WindowPolicy, atMs: number): number => Math.floor(atMs / windowMs) * windowMs;

function repeated(observation: Observation, known: KnownObservation | undefined): Standing | null {
  if (known === undefined) return null;
  if (observation.label === null || observation.label === known.label) return 'duplicate';
  return known.label === null ? 'lateLabel' : 'conflictingLabel';
}

function timeliness(policy: WindowPolicy, atMs: number, watermarkMs: number | null, newestMs: number | null): Standing {
  if (isClosed(policy, windowOf(policy, atMs), watermarkMs)) return 'tooLate';
  return newestMs !== null && atMs < newestMs ? 'outOfOrder' : 'inTime';
}

const isClosed = (policy: WindowPolicy, startMs: number, watermarkMs: number | null): boolean =>
  watermarkMs !== null && startMs + policy.windowMs + policy.latenessMs <= watermarkMs;
