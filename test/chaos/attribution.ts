import type { Scenario } from '../support/fixtures/trainers/scenarios.ts';
import { kindOf } from './fault-plan.ts';
import type { Strike } from './inject.ts';
import type { LostAttempt } from './log-facts.ts';

/** Losses that are no fault of ours: training programs that fail or kill themselves by their script. */
const BY_SCRIPT = 'by script';

/** The row of the table that a fault belongs to. */
export const rowOf = ({ fault, paired }: Strike): string => (paired ? 'two at once' : kindOf(fault));

const FAILING: readonly Scenario[] = ['failsFirst', 'killedFirst', 'badData'];

/** A lease of a dead worker ends 3 s after its last heartbeat, and the fact may wait for an orchestrator. */
const AFTERMATH_MS = 10_000;

/**
 * The kind of fault that a lost attempt is booked on: that which struck its program or its worker while it ran; else the last one that began
 * before its end, within 10 s of that fault's end; else its script.
 */
export function causeOf(lost: LostAttempt, strikes: readonly Strike[], scenario: Scenario): string {
  const during = strikes.filter(
    ({ beganAtMs, overAtMs }) => beganAtMs <= lost.endedAtMs && overAtMs + AFTERMATH_MS >= lost.endedAtMs,
  );
  const direct = during.findLast(
    ({ what, attempt, overAtMs }) =>
      overAtMs >= lost.startedAtMs &&
      (what === lost.workerId ||
        (attempt?.jobId === lost.jobId && attempt.activityId === lost.activityId && attempt.epoch === lost.epoch)),
  );
  if (direct !== undefined) return rowOf(direct);
  if (lost.failed && FAILING.includes(scenario)) return BY_SCRIPT;
  // A program that was struck or failed by itself loses its own attempt only; a gateway and a drift monitor none at all.
  const wide = during.findLast(({ fault }) => !['trainer', 'gateway', 'drift-monitor'].includes(fault.target));
  return wide === undefined ? BY_SCRIPT : rowOf(wide);
}
