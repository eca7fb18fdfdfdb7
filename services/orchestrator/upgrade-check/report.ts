import type { UpgradeCheckResult } from '../app/upgrade-check.ts';
import type { ReplayVerdict } from '../domain/replay-check.ts';

/** Workflows listed one by one at most; the rest is counted. A release that breaks every workflow says so often enough with these. */
const MAX_LISTED = 1_000;

/** Writes a report while the check runs. */
export interface Report {
  readonly verdict: (verdict: ReplayVerdict) => void;
  readonly end: (result: UpgradeCheckResult) => void;
}

type Write = (text: string) => void;

/** For people: a line for each workflow that is not the same, then a table by definition. */
export function textReport(write: Write): Report {
  let listed = 0;
  return {
    verdict: ({ workflowId, definition, outcome, reasons }) => {
      if (++listed > MAX_LISTED) return;
      write(`${outcome.padEnd(7)}  ${workflowId} (${definition})\n`);
      for (const reason of reasons) write(`         ${reason}\n`);
    },
    end: ({ checked, byDefinition, ok }) => {
      if (listed > MAX_LISTED) write(`... and ${listed - MAX_LISTED} more\n`);
      for (const [definition, counts] of Object.entries(byDefinition)) {
        const parts = Object.entries(counts).map(([outcome, count]) => `${count} ${outcome}`);
        write(`${definition}: ${parts.join(', ')}\n`);
      }
      const answer = ok ? 'this code can take over' : 'DO NOT UPGRADE: see the workflows that differ or get stuck';
      write(`${checked} open or parked workflows replayed: ${answer}\n`);
    },
  };
}

/** For programs: one JSON document, written piece by piece; nothing when the check cannot begin. */
export function jsonReport(write: Write): Report {
  let listed = 0;
  const head = '{"workflows":[';
  return {
    verdict: (verdict) => {
      if (++listed > MAX_LISTED) return;
      write(`${listed === 1 ? head : ','}${JSON.stringify(verdict)}`);
    },
    end: (result) => {
      const omitted = Math.max(0, listed - MAX_LISTED);
      write(`${listed === 0 ? head : ''}],"omitted":${omitted},${JSON.stringify(result).slice(1)}\n`);
    },
  };
}
