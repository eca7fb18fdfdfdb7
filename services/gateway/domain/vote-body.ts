import { Type } from '#typebox';
import { Name } from '#lib/contracts/jobs.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { explain } from './field-errors.ts';
import { unstorable } from './storable.ts';

export const ApprovalIdText = Type.String({ pattern: '^[A-Za-z0-9._-]{1,256}$', description: 'id of the approval' });

const Digest = Type.String({
  pattern: '^[0-9a-f]{64}$',
  description: "the ticket's `digest`: what you decide about is what you have read",
});
const Comment = Type.String({ maxLength: 2_000 });

/** The body of a vote by REST. */
export const VoteBody = Type.Object(
  { digest: Digest, comment: Type.Optional(Comment) },
  { additionalProperties: false },
);

/** A vote as a record has it: the members of the body, and those that REST has in its path. */
const VoteMembers = Type.Object({
  approvalId: ApprovalIdText,
  project: Name,
  decision: Type.Union([Type.Literal('approve'), Type.Literal('reject')]),
  digest: Digest,
  comment: Type.Union([Type.Null(), Comment]),
});

/** What REST would refuse of a vote before it is looked at: text that no table takes would hold up all records after it. */
export function checkVote(vote: unknown): FieldError[] {
  const text = unstorable(vote);
  return text.length > 0 ? text : explain(VoteMembers, vote);
}
