import type { ActivityEntry, Lane } from './activity-ledger.ts';

/** Seconds that activities ran on a lane, lost or not. */
export function laneSeconds(entries: readonly ActivityEntry[], lane: Lane): number {
  let ms = 0;
  for (const entry of entries) if (entry.request.lane === lane) ms += entry.usefulMs + entry.lostMs;
  return ms / 1_000;
}
