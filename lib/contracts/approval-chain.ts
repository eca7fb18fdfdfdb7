import { digestOf } from './digest.ts';

/** What the hash of a vote covers, besides the hash before it. */
export interface ChainedVote {
  readonly by: string;
  readonly decision: 'approve' | 'reject';
  readonly comment: string | null;
  readonly atMs: number;
}

/** A ticket as far as its votes are chained to what they are about. */
export interface ApprovalChain {
  readonly subject: unknown;
  /** SHA-256 of the subject's canonical JSON. */
  readonly digest: string;
  readonly votes: readonly (ChainedVote & { readonly hash: string })[];
}

/** SHA-256 over the hash before it (of the first vote: the ticket's digest) and the vote. */
export const voteHash = (before: string, { by, decision, comment, atMs }: ChainedVote): string =>
  digestOf({ before, by, decision, comment, atMs });

/**
 * True when neither subject nor digest nor any vote was changed, left out in the middle, put elsewhere or added with a wrong hash. Votes cut off at
 * the end are not seen, nor is a chain that somebody computed anew from the first change on.
 */
export function chainHolds({ subject, digest, votes }: ApprovalChain): boolean {
  let before = digest;
  if (digestOf(subject) !== digest) return false;
  for (const vote of votes) {
    if (voteHash(before, vote) !== vote.hash) return false;
    before = vote.hash;
  }
  return true;
}
