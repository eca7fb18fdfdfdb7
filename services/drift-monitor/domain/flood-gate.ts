import { murmur2 } from '#lib/kernel/partition.ts';

export interface FloodPolicy {
  /** Observations of one model version and window that are taken before they are thinned; then as many again of every second, every fourth, and so on. */
  readonly observationsPerWindow: number;
}

/** JSON; one per model version. */
export interface FloodState {
  /** Begin of the newest window seen. */
  readonly windowStartMs: number;
  /** One of 2^level is taken. */
  readonly level: number;
  /** Taken at this level in this window. */
  readonly taken: number;
}

export const NO_FLOOD: FloodState = { windowStartMs: -1, level: 0, taken: 0 };

/** One of a million: 2^20 times the limit is more than any bus delivers in a window. */
const MAX_LEVEL = 20;
/** murmur2 gives 31 bits. */
const HASHES = 2 ** 31;

/**
 * Whether a flood leaves room for an observation. The choice is by the hash of its id: what comes twice is taken twice or not at all, so that thinning
 * makes no duplicates. The work of a window of n observations is that of limit x (1 + log2(n / limit)) at most. A new window begins one level below
 * the last one's, so that a lasting flood is thinned evenly and one that is over is forgotten.
 */
export function passFlood(
  { observationsPerWindow }: FloodPolicy,
  before: FloodState,
  windowStartMs: number,
  observationId: string,
): { readonly state: FloodState; readonly taken: boolean } {
  const fresh = windowStartMs > before.windowStartMs;
  const state = fresh ? { windowStartMs, level: Math.max(0, before.level - 1), taken: 0 } : before;
  if (state.level > 0 && murmur2(observationId) >= HASHES / 2 ** state.level) return { state, taken: false };
  const taken = state.taken + 1;
  const full = taken >= observationsPerWindow && state.level < MAX_LEVEL;
  return { state: full ? { ...state, level: state.level + 1, taken: 0 } : { ...state, taken }, taken: true };
}
