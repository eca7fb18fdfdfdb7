import type { OutgoingMessage } from '#lib/bus/port.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { ApprovalSubject } from '#lib/contracts/release.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { changeOf, type Decision, judgeVote, type Ticket } from '../domain/vote-rules.ts';
import { SOURCE } from './job-messages.ts';
import type { Gateway } from './ports.ts';

/** A row of `approvals`: the orchestrator's projection of a ticket. */
export interface ApprovalRow extends Ticket {
  readonly id: string;
  readonly project: string;
  readonly jobId: string;
  readonly workflowId: string;
  /** What the workflow calls the ticket. */
  readonly approval: string;
  readonly subject: ApprovalSubject;
  readonly required: number;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | null;
  readonly reminders: number;
}

export interface ApprovalStore {
  /** `project` null = in any. */
  find(id: string, project: string | null): Promise<ApprovalRow | null>;
}

/** The ticket, if it is in the project (null = any). Throws `NotFound`. */
export async function findApproval(store: ApprovalStore, id: string, project: string | null): Promise<ApprovalRow> {
  const ticket = await store.find(id, project);
  if (ticket === null) throw new TrainyardError('NotFound', `there is no approval ${id}`);
  return ticket;
}

export interface VoteRequest {
  readonly id: string;
  readonly project: string | null;
  readonly by: string;
  readonly decision: Decision;
  readonly comment: string | null;
  /** Of the ticket as the voter saw it. */
  readonly digest: string;
}

/**
 * Passes a vote on to the workflow that asks. It counts when the ticket shows it: the orchestrator judges again, one vote after the other. The same
 * vote again is the same message. Throws `NotFound`, `ApprovalBySubmitter`, `Forbidden`, `ApprovalAlreadyVoted`, `ApprovalVoided`,
 * `ApprovalClosed`, `ApprovalDigestMismatch`.
 */
export async function castVote(
  gateway: Gateway,
  store: ApprovalStore,
  request: VoteRequest,
): Promise<{ readonly ticket: ApprovalRow; readonly repeated: boolean }> {
  const { by, decision, comment, digest } = request;
  const ticket = await findApproval(store, request.id, request.project);
  const details = { approvalId: ticket.id, approvalStatus: ticket.status };
  const verdict = judgeVote(ticket, request, gateway.now());
  if (verdict.kind === 'refused') throw new TrainyardError(verdict.code, verdict.reason, { details });
  if (verdict.kind === 'repeated') return { ticket, repeated: true };
  const changed = await changeInRegistry(gateway, ticket);
  if (changed !== null) {
    const data = { approval: ticket.approval, reason: changed };
    await gateway.jobs.publish([signal(gateway, ticket, `void:${ticket.id}`, { signal: 'approval.void', data, by })]);
    throw new TrainyardError('ApprovalVoided', `${changed}: the ticket is voided`, { details });
  }
  const data = { approval: ticket.approval, decision, comment, digest };
  const id = `vote:${ticket.id}:${by}`;
  await gateway.jobs.publish([signal(gateway, ticket, id, { signal: 'approval.vote', data, by })]);
  return { ticket, repeated: false };
}

/** The registry is asked anew at every vote: between two of them a report may have been attached. */
async function changeInRegistry({ registry }: Gateway, { project, subject }: ApprovalRow): Promise<string | null> {
  const { name, version } = subject.model;
  const found = await registry.getVersion(project, name, version);
  return changeOf(subject, found === null ? null : { manifestDigest: found.lineage.manifestDigest, tags: found.tags });
}

function signal(
  gateway: Gateway,
  { workflowId }: ApprovalRow,
  id: string,
  { signal: name, data, by }: { readonly signal: string; readonly data: object; readonly by: string },
): OutgoingMessage {
  return encodeMessage(gateway.codec, {
    topic: 'orchestrator.commands',
    key: workflowId,
    type: 'SignalWorkflow',
    payload: { workflowId, signal: name, dataJson: JSON.stringify(data), requestedBy: by },
    envelope: { id, source: SOURCE, timeMs: gateway.now() },
  });
}
