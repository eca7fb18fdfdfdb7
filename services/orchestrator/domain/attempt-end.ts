import { assertNever } from '#lib/kernel/errors.ts';
import {
  type ActivityEntry,
  completed,
  declined,
  failed,
  leaseEnded,
  type LedgerStep,
  yielded,
} from './activity-ledger.ts';
import type { Fact } from './facts.ts';

/** Facts after which an attempt is over. */
export type AttemptEnd = Extract<
  Fact,
  { type: 'ActivityCompleted' | 'ActivityFailed' | 'ActivityYielded' | 'ActivityDeclined' | 'LeaseEnded' }
>;

/** What the ledger makes of it. */
export function endOfAttempt(entry: ActivityEntry, fact: AttemptEnd, atMs: number): LedgerStep {
  switch (fact.type) {
    case 'ActivityCompleted':
      return completed(entry, fact.data.output, fact.data.startedAtMs, atMs);
    case 'ActivityFailed': {
      const { code, message, retryable, logTail, startedAtMs } = fact.data;
      return failed(entry, { code, message, retryable, logTail }, startedAtMs, atMs);
    }
    case 'ActivityYielded':
      return yielded(entry, fact.data.startedAtMs, atMs);
    case 'ActivityDeclined':
      return declined(entry, atMs);
    case 'LeaseEnded':
      return leaseEnded(entry, fact.data.reason, atMs);
    default:
      return assertNever(fact);
  }
}
