import type { OutgoingMessage } from '#lib/bus/port.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { ApprovalVoteRequested } from '#lib/contracts/generated/messages.ts';
import { type FieldError, TrainyardError } from '#lib/kernel/errors.ts';
import { accessTo } from '../domain/access.ts';
import { checkVote } from '../domain/vote-body.ts';
import { type ApprovalStore, castVote } from './approvals.ts';
import { SOURCE } from './job-messages.ts';
import type { Gateway } from './ports.ts';
import { cut, keyOf, principalOf } from './records.ts';
import { refusalOrThrow } from './submit-batch.ts';

/** A vote that came as a record of `jobs.requests`. */
export interface VoteRecord {
  readonly requestId: string;
  readonly payload: ApprovalVoteRequested;
  readonly headers: Readonly<Record<string, string>>;
}

interface VotePorts {
  readonly gateway: Gateway;
  readonly approvals: ApprovalStore;
  readonly identify: Parameters<typeof principalOf>[0];
}

/** Passes a vote on; why not, when it does not count. Throws what is retryable. */
export async function takeVote(
  { gateway, approvals, identify }: VotePorts,
  { payload, headers }: VoteRecord,
): Promise<TrainyardError | null> {
  const { approvalId: id, project, decision, comment, digest } = payload;
  const principal = await principalOf(identify, headers);
  if (principal instanceof TrainyardError) return principal;
  const access = accessTo(principal, project, 'approver');
  if (!access.ok) return new TrainyardError(access.code, access.reason);
  const fields = checkVote(payload);
  // The second half is for the compiler: a checked vote has one of the two.
  if (fields.length > 0 || (decision !== 'approve' && decision !== 'reject')) return malformed(fields);
  try {
    await castVote(gateway, approvals, { id, project, by: principal.keyId, decision, comment, digest });
    return null;
  } catch (error) {
    return refusalOrThrow(error);
  }
}

/** `ApprovalVoteRefused` has no list of fields: the message names them. */
const malformed = (fields: readonly FieldError[]): TrainyardError =>
  new TrainyardError('ValidationFailed', fields.map(({ pointer, message }) => `${pointer} ${message}`).join('; '), {
    fields,
  });

/** The answer to a vote that does not count. */
export function voteRefused(
  { codec }: Gateway,
  { requestId, payload }: VoteRecord,
  error: TrainyardError,
  nowMs: number,
): OutgoingMessage {
  const { project, approvalId } = payload;
  return encodeMessage(codec, {
    topic: 'jobs.events',
    key: keyOf(project),
    type: 'ApprovalVoteRefused',
    payload: {
      requestId: cut(requestId),
      approvalId: cut(approvalId),
      project: cut(project),
      code: error.code,
      message: cut(error.message),
    },
    envelope: { id: `vote-refused:${cut(requestId)}`, source: SOURCE, timeMs: nowMs },
  });
}
