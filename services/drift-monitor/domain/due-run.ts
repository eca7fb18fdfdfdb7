import type { MissedRuns } from '#lib/contracts/retrain-policy.ts';
import { nextFire, parseCron } from '#lib/kernel/cron.ts';

export interface StandingSchedule {
  readonly cron: string;
  readonly timeZone: string;
  readonly missedRuns: MissedRuns;
  /** Due now. */
  readonly fireAtMs: number;
}

export interface DueRun {
  /** `fire`: ask for a retrain; `missed`: the run is passed over, and that is recorded. */
  readonly kind: 'fire' | 'missed';
  /** Runs from the due one until now, itself included, up to the limit. */
  readonly runs: number;
  /** Null: never again. */
  readonly nextFireAtMs: number | null;
}

/** A run that comes up to so much late is no missed one: monitors restart, and look once a second. */
export const SCHEDULE_GRACE_MS = 60_000;

/** Missed runs are counted up to this: after a year's outage of an expression of every minute the number does not matter. */
const MAX_COUNTED = 1_000;

/** What becomes of a run that is due. However many were missed, one decision stands for all of them. */
export function dueRun({ cron: text, timeZone, missedRuns, fireAtMs }: StandingSchedule, nowMs: number): DueRun {
  const parsed = parseCron(text);
  // The gateway stores only what parses; a later release may know less.
  if (!parsed.ok) return { kind: 'missed', runs: 1, nextFireAtMs: null };
  let [runs, last] = [1, fireAtMs];
  while (runs < MAX_COUNTED) {
    const next = nextFire(parsed.cron, timeZone, last);
    if (next === null || next > nowMs) break;
    [runs, last] = [runs + 1, next];
  }
  const inTime = nowMs - last <= SCHEDULE_GRACE_MS;
  return {
    kind: inTime || missedRuns === 'runOnce' ? 'fire' : 'missed',
    runs,
    nextFireAtMs: nextFire(parsed.cron, timeZone, nowMs),
  };
}
