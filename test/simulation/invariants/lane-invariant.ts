import type { ActivityRow } from '../../../services/orchestrator/app/commit.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** Lane time of every activity, to the millisecond. */
export class LaneInvariant {
  readonly #violations: Violations;
  /** When an activity was scheduled, by workflow and activity. */
  readonly #scheduledAtMs = new Map<string, number>();
  /** When a failed activity ended: time until somebody has it tried again is nobody's. */
  readonly #failedAtMs = new Map<string, number>();

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  saved(rows: readonly ActivityRow[]): void {
    for (const row of rows) {
      const key = `${row.workflowId} ${row.activityId}`;
      const failedAtMs = this.#failedAtMs.get(key);
      const goesOn = failedAtMs !== undefined && row.state !== 'failed';
      const pauseMs = goesOn ? row.queuedAtMs - failedAtMs : 0;
      const scheduledAtMs = (this.#scheduledAtMs.get(key) ?? row.queuedAtMs) + pauseMs;
      if (goesOn) this.#failedAtMs.delete(key);
      if (row.state === 'failed' && row.endedAtMs !== null && failedAtMs === undefined)
        this.#failedAtMs.set(key, row.endedAtMs);
      this.#scheduledAtMs.set(key, scheduledAtMs);
      const wallMs = bookedUntilMs(row) - scheduledAtMs;
      const { usefulMs, lostMs, waitingMs } = row;
      this.#violations.check(
        RULES.laneTime,
        usefulMs + lostMs + waitingMs === wallMs && Math.min(usefulMs, lostMs, waitingMs) >= 0,
        () => `${key} ${row.state} epoch ${row.epoch}: ${usefulMs} + ${lostMs} + ${waitingMs} ms of ${wallMs}`,
      );
    }
  }
}

/** Up to when the ledger has booked: the start of the attempt that runs, of the wait that goes on, or the end. */
function bookedUntilMs(row: ActivityRow): number {
  if (row.state === 'queued' || row.state === 'placed') return row.queuedAtMs;
  if (row.state === 'running') return row.startedAtMs ?? Number.NaN;
  return row.endedAtMs ?? Number.NaN;
}
