import type { ChainedVote } from '#lib/contracts/approval-chain.ts';
import type { ApprovalSubject } from '#lib/contracts/release.ts';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';

export const APPROVAL_STATUSES = ['open', 'approved', 'rejected', 'expired', 'voided', 'cancelled'] as const;
export type ApprovalStatus = (typeof APPROVAL_STATUSES)[number];
export type Decision = 'approve' | 'reject';

/** A vote that counted. `hash` chains it to the one before it, the first to the ticket's digest. */
export interface CastVote extends ChainedVote {
  readonly hash: string;
}

/** What a vote is judged by. */
export interface Ticket {
  readonly status: ApprovalStatus;
  readonly submittedBy: string | null;
  /** Key ids; null = every approver. */
  readonly approvers: readonly string[] | null;
  readonly digest: string;
  readonly votes: readonly CastVote[];
  /** From this moment on no vote counts, whether its timer has closed it yet or not. */
  readonly expiresAtMs: number;
}

export type VoteVerdict =
  | { readonly kind: 'cast' }
  /** The same vote was cast before: nothing is to be done. */
  | { readonly kind: 'repeated' }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly reason: string };

/**
 * Whether a vote may be passed on. The orchestrator, which keeps the ticket, decides again; this is the answer that people get at once. A vote
 * that is sent again is no error, even when it was the one that closed the ticket.
 */
export function judgeVote(
  ticket: Ticket,
  vote: { readonly by: string; readonly decision: Decision; readonly digest: string },
  nowMs: number,
): VoteVerdict {
  const { by, decision, digest } = vote;
  if (by === ticket.submittedBy)
    return refused('ApprovalBySubmitter', 'the key submitted the job: somebody else decides about it');
  if (ticket.approvers !== null && !ticket.approvers.includes(by))
    return refused('Forbidden', 'the key is not among the approvers of this ticket');
  const own = ticket.votes.find((cast) => cast.by === by);
  if (own?.decision === decision) return { kind: 'repeated' };
  if (own !== undefined) return refused('ApprovalAlreadyVoted', `the key voted ${own.decision} before`);
  if (ticket.status === 'voided')
    return refused('ApprovalVoided', 'what the ticket asked about has changed; it counts no votes');
  if (ticket.status !== 'open') return refused('ApprovalClosed', `the ticket is ${ticket.status}`);
  if (nowMs >= ticket.expiresAtMs) return refused('ApprovalClosed', 'the ticket is expired');
  if (digest !== ticket.digest)
    return refused('ApprovalDigestMismatch', "the digest is not the ticket's: read it again before you decide");
  return { kind: 'cast' };
}

/** Names of the tags that hold the digest of a report about a version start with this. */
const REPORT_TAG = 'trainyard.report.';

/**
 * Why a ticket's subject is no longer what was reviewed, given the version as the registry has it; null = it still is. A report that was changed
 * changes it, and so does one that is attached later: nobody has seen it.
 */
export function changeOf(
  { artifacts, reports }: ApprovalSubject,
  version: { readonly manifestDigest: string; readonly tags: Readonly<Record<string, string>> } | null,
): string | null {
  if (version === null) return 'the version is not in the registry any more';
  if (version.manifestDigest !== artifacts) return 'the artifacts of the version are others';
  const reviewed = new Set(Object.values(reports));
  for (const [tag, digest] of Object.entries(version.tags)) {
    if (!tag.startsWith(REPORT_TAG)) continue;
    const name = tag.slice(REPORT_TAG.length);
    if (Object.hasOwn(reports, name) && reports[name] !== digest) return `report ${name} was changed`;
    if (!reviewed.has(digest)) return `report ${name} was attached later`;
  }
  return null;
}

const refused = (code: ErrorCode, reason: string): VoteVerdict => ({ kind: 'refused', code, reason });
