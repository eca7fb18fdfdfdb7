import type { OutgoingMessage, ReceivedMessage, Subscription } from '#lib/bus/port.ts';
import { deadLetter, decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { JobRequested } from '#lib/contracts/generated/messages.ts';
import { Name } from '#lib/contracts/jobs.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { accessTo, type Principal } from '../domain/access.ts';
import type { Gateway } from './ports.ts';
import { acceptedMessage, SOURCE } from './job-messages.ts';
import type { SubmitRequest } from './plan-job.ts';
import { type BatchResult, submitBatch } from './submit-batch.ts';

const CONSUMER = 'gateway';

const PROJECT_NAME = new RegExp((Name as unknown as { pattern: string }).pattern);

/** An answer repeats what a request said, which may be a megabyte of anything: so much of each member, and so many members. */
const MAX_CHARACTERS = 1_000;
const MAX_FIELDS = 100;
const cut = (text: string): string => text.slice(0, MAX_CHARACTERS);

export interface IngressPorts {
  readonly gateway: Gateway;
  /** Whose API key it is; null for none of ours. */
  readonly identify: (key: string) => Promise<Principal | null>;
  readonly subscription: Pick<Subscription, 'commit'>;
}

export interface IngressCounts {
  accepted: number;
  repeated: number;
  rejected: number;
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
  const counts: IngressCounts = { accepted: 0, repeated: 0, rejected: 0, unreadable: 0 };

  // 1. Who asks for what.
  const asked: Request[] = [];
  for (const received of messages) {
    const decoded = decodeMessage(gateway.codec, received);
    if (!decoded.ok) {
      counts.unreadable++;
      answers.push(deadLetter(gateway.codec, received, decoded, CONSUMER, nowMs));
      continue;
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

  // 3. Answers, then positions.
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
  const key = /^Bearer (\S+)$/i.exec(headers['authorization'] ?? '')?.[1];
  const principal = key === undefined ? null : await identify(key);
  if (principal === null)
    return new TrainyardError('Unauthenticated', 'header authorization: no API key, or one that is not known');
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
    // What is no project name came from outside and may be anything: no key for a bus.
    key: PROJECT_NAME.test(project) ? project : 'unknown',
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
