import type { OutgoingMessage, ReceivedMessage, Subscription } from '#lib/bus/port.ts';
import { deadLetter, decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { JobRequested } from '#lib/contracts/generated/messages.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { accessTo, type Principal } from '../domain/access.ts';
import type { ApprovalStore } from './approvals.ts';
import type { Gateway } from './ports.ts';
import { cut, keyOf, MAX_FIELDS, principalOf, PROJECT_NAME } from './records.ts';
import { takeVote, type VoteRecord, voteRefused } from './vote-requests.ts';
import { acceptedMessage, SOURCE } from './job-messages.ts';
import type { SubmitRequest } from './plan-job.ts';
import { type BatchResult, submitBatch } from './submit-batch.ts';

const CONSUMER = 'gateway';

export interface IngressPorts {
  readonly gateway: Gateway;
  /** Whose API key it is; null for none of ours. */
  readonly identify: (key: string) => Promise<Principal | null>;
  readonly approvals: ApprovalStore;
  readonly subscription: Pick<Subscription, 'commit'>;
}

export interface IngressCounts {
  accepted: number;
  repeated: number;
  rejected: number;
  /** Votes on approvals that were passed on. */
  votes: number;
  unreadable: number;
}

interface Request extends SubmitRequest {
  readonly requestId: string;
  readonly idempotencyKey: string;
}

/**
 * One batch of `jobs.requests`: what REST would do with each, answered on `jobs.events`. The same checks, the same rights (the record's header
 * `authorization: Bearer <API key>`), the same idempotency: a request that comes again, by either door, is the same job. Answers of refused and
 * repeated requests are published after the jobs are stored and before the positions are, so each request is answered at least once. Throws
 * what is retryable: the batch is taken again.
 */
export async function takeRequests(
  ports: IngressPorts,
  messages: readonly ReceivedMessage[],
  nowMs: number,
): Promise<IngressCounts> {
  const { gateway } = ports;
  await gateway.codec.prepare(messages.map((message) => message.value));
  const answers: OutgoingMessage[] = [];
  const counts: IngressCounts = { accepted: 0, repeated: 0, rejected: 0, votes: 0, unreadable: 0 };

  // 1. Who asks for what.
  const asked: Request[] = [];
  const votes: VoteRecord[] = [];
  for (const received of messages) {
    const decoded = decodeMessage(gateway.codec, received);
    if (!decoded.ok) {
      counts.unreadable++;
      answers.push(deadLetter(gateway.codec, received, decoded, CONSUMER, nowMs));
      continue;
    }
    if (decoded.message.type === 'ApprovalVoteRequested') {
      const { id: requestId, payload } = decoded.message;
      votes.push({ requestId, payload, headers: received.headers });
    }
    if (decoded.message.type !== 'JobRequested') continue;
    const request = await requestOf(ports, decoded.message.id, decoded.message.payload, received.headers);
    if (!(request instanceof TrainyardError)) asked.push(request);
    else {
      counts.rejected++;
      answers.push(rejection(gateway, decoded.message.id, decoded.message.payload, request, nowMs));
    }
  }

  // 2. What REST does, in one transaction for the new ones.
  const results = await submitBatch(gateway, asked);
  for (const [at, request] of asked.entries()) {
    const result = results[at];
    if (result !== undefined) answer(gateway, { request, result, answers, counts, nowMs });
  }

  // 3. Votes, as REST takes them.
  for (const vote of votes) {
    const refusal = await takeVote(ports, vote);
    if (refusal === null) counts.votes++;
    else {
      counts.rejected++;
      answers.push(voteRefused(gateway, vote, refusal, nowMs));
    }
  }

  // 4. Answers, then positions.
  if (answers.length > 0) await gateway.jobs.publish(answers);
  const ends = new Map(messages.map((m) => [m.partition, { ...m, nextOffset: m.offset + 1 }]));
  await ports.subscription.commit(
    [...ends.values()].map(({ topic, partition, nextOffset }) => ({ topic, partition, nextOffset })),
  );
  return counts;
}

function answer(
  gateway: Gateway,
  step: {
    readonly request: Request;
    readonly result: BatchResult;
    readonly answers: OutgoingMessage[];
    readonly counts: IngressCounts;
    readonly nowMs: number;
  },
): void {
  const { request, result, answers, counts, nowMs } = step;
  switch (result.kind) {
    case 'created':
      // Its JobAccepted was part of the transaction.
      counts.accepted++;
      return;
    case 'existing':
      counts.repeated++;
      answers.push(acceptedMessage(gateway, result.job, request.requestId));
      return;
    case 'refused':
      counts.rejected++;
      answers.push(rejection(gateway, request.requestId, request, result.error, nowMs));
      return;
    case 'dryRun':
      throw new Error('a record asks for no dry run');
  }
}

/** The request as REST would have it, or why it is refused: no key, another project, too low a role, JSON that does not parse. */
async function requestOf(
  { identify }: IngressPorts,
  requestId: string,
  payload: JobRequested,
  headers: Readonly<Record<string, string>>,
): Promise<Request | TrainyardError> {
  const principal = await principalOf(identify, headers);
  if (principal instanceof TrainyardError) return principal;
  const access = accessTo(principal, payload.project, 'submitter');
  if (!access.ok) return new TrainyardError(access.code, access.reason);
  const { project, idempotencyKey, jobType: type, priority, labels, description } = payload;
  if (!PROJECT_NAME.test(project)) return new TrainyardError('NotFound', `there is no project ${cut(project)}`);
  try {
    const spec: unknown = JSON.parse(payload.specJson);
    const body = { type, idempotencyKey, ...(priority === null ? {} : { priority }), labels, description, spec };
    return { project, body, requestId, idempotencyKey, submittedBy: principal.keyId };
  } catch (error) {
    return new TrainyardError('MalformedJson', `specJson is not valid JSON: ${messageOf(error)}`, {
      fields: [{ pointer: '/specJson', message: messageOf(error) }],
    });
  }
}

function rejection(
  { codec }: Gateway,
  requestId: string,
  { project, idempotencyKey }: { readonly project: string; readonly idempotencyKey: string },
  error: TrainyardError,
  nowMs: number,
): OutgoingMessage {
  return encodeMessage(codec, {
    topic: 'jobs.events',
    key: keyOf(project),
    type: 'JobRejected',
    payload: {
      requestId: cut(requestId),
      project: cut(project),
      idempotencyKey: cut(idempotencyKey),
      code: error.code,
      message: cut(error.message),
      fields: error.fields.slice(0, MAX_FIELDS).map(({ pointer, message }) => ({
        pointer: cut(pointer),
        message: cut(message),
      })),
    },
    envelope: { id: `rejected:${cut(requestId)}`, source: SOURCE, timeMs: nowMs },
  });
}
