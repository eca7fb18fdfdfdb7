import { type ChainedVote, voteHash } from '#lib/contracts/approval-chain.ts';
import { digestOf } from '#lib/contracts/digest.ts';
import type { ApprovalPolicy, ApprovalSubject } from '#lib/contracts/release.ts';

export type ApprovalStatus = 'open' | 'approved' | 'rejected' | 'expired' | 'voided' | 'cancelled';

/** How a ticket ended, as the machine is told. */
export type ApprovalOutcome = Exclude<ApprovalStatus, 'open' | 'cancelled'>;

/** What a machine asks people. */
export interface ApprovalRequest {
  /** Unique within the workflow. */
  readonly approval: string;
  readonly subject: ApprovalSubject;
  readonly policy: ApprovalPolicy;
}

export interface Vote extends ChainedVote {
  /** `voteHash`: a vote that is changed later breaks the chain. */
  readonly hash: string;
}

/** A question to people and what they answered. Plain JSON. */
export interface ApprovalTicket {
  readonly approval: string;
  readonly status: ApprovalStatus;
  readonly subject: ApprovalSubject;
  /** SHA-256 of the subject's canonical JSON: what a vote is about. */
  readonly digest: string;
  readonly submittedBy: string | null;
  readonly required: number;
  /** Key ids that may answer; null = every approver of the project. */
  readonly approvers: readonly string[] | null;
  readonly votes: readonly Vote[];
  readonly requestedAtMs: number;
  readonly expiresAtMs: number;
  readonly remindEveryMs: number;
  readonly reminders: number;
  readonly decidedAtMs: number | null;
}

/** What somebody answers. */
export interface Ballot {
  readonly by: string;
  readonly decision: 'approve' | 'reject';
  readonly comment: string | null;
  /** Of what the voter saw. */
  readonly digest: string;
}

/** Why a ballot does not count. */
export type BallotRefusal = 'Closed' | 'BySubmitter' | 'NotAnApprover' | 'DigestMismatch' | 'AlreadyVoted';

const HOUR_MS = 3_600_000;

export function openTicket(request: ApprovalRequest, submittedBy: string | null, atMs: number): ApprovalTicket {
  const { approval, subject, policy } = request;
  return {
    approval,
    status: 'open',
    subject,
    digest: digestOf(subject),
    submittedBy,
    required: policy.required,
    approvers: policy.approvers ?? null,
    votes: [],
    requestedAtMs: atMs,
    expiresAtMs: atMs + Math.round(policy.expiresAfterHours * HOUR_MS),
    remindEveryMs: Math.max(1_000, Math.round(policy.remindEveryHours * HOUR_MS)),
    reminders: 0,
    decidedAtMs: null,
  };
}

/** Null when the ballot counts. The submitter never counts, whatever their role. */
export function refusalOf(ticket: ApprovalTicket, ballot: Ballot, atMs: number): BallotRefusal | null {
  // Its timer may be late: nobody was there at that time.
  if (ticket.status !== 'open' || atMs >= ticket.expiresAtMs) return 'Closed';
  if (ballot.by === ticket.submittedBy) return 'BySubmitter';
  if (ticket.approvers !== null && !ticket.approvers.includes(ballot.by)) return 'NotAnApprover';
  if (ballot.digest !== ticket.digest) return 'DigestMismatch';
  return ticket.votes.some(({ by }) => by === ballot.by) ? 'AlreadyVoted' : null;
}

/** Counts a ballot that `refusalOf` lets through. The last of the required votes approves, one rejection rejects. */
export function countBallot(ticket: ApprovalTicket, ballot: Omit<Ballot, 'digest'>, atMs: number): ApprovalTicket {
  const { by, decision, comment } = ballot;
  const before = ticket.votes.at(-1)?.hash ?? ticket.digest;
  const cast = { by, decision, comment, atMs };
  const vote: Vote = { ...cast, hash: voteHash(before, cast) };
  const votes = [...ticket.votes, vote];
  const approvals = votes.filter((counted) => counted.decision === 'approve').length;
  const status = decision === 'reject' ? 'rejected' : approvals >= ticket.required ? 'approved' : 'open';
  return { ...ticket, votes, status, decidedAtMs: status === 'open' ? null : atMs };
}

/** Ends an open ticket without another vote; a decided one stays as it is. */
export const closeTicket = (
  ticket: ApprovalTicket,
  status: 'expired' | 'voided' | 'cancelled',
  atMs: number,
): ApprovalTicket => (ticket.status === 'open' ? { ...ticket, status, decidedAtMs: atMs } : ticket);

export const reminded = (ticket: ApprovalTicket): ApprovalTicket => ({ ...ticket, reminders: ticket.reminders + 1 });
