import type { OutgoingMessage, ReceivedMessage, Subscription } from '#lib/bus/port.ts';
import { deadLetter, decodeMessage } from '#lib/contracts/envelope.ts';
import type { RetrainSignalled } from '#lib/contracts/generated/messages.ts';
import { Name } from '#lib/contracts/jobs.ts';
import { SIGNAL_ID, SIGNAL_SOURCES, type SignalOutcome, type SignalSource } from '#lib/contracts/retrain-policy.ts';
import { assertNever, type FieldError, TrainyardError } from '#lib/kernel/errors.ts';
import { retrainSpecOf } from '../domain/retrain-policy-rules.ts';
import { unstorable } from '../domain/storable.ts';
import type { Gateway } from './ports.ts';
import { submitJob, type SubmitResult } from './submit-job.ts';

const CONSUMER = 'gateway';
const NAME = new RegExp((Name as unknown as { pattern: string }).pattern);

/** The job's schema bounds them so; a signal may have more causes than anybody reads. */
const MAX_CAUSES = 100;
const MAX_CAUSE_LENGTH = 500;

/** A signal as it is stored. */
export interface StoredSignal {
  readonly project: string;
  readonly signalId: string;
  readonly model: string;
  readonly source: SignalSource;
  readonly outcome: SignalOutcome;
  readonly causes: readonly string[];
  /** Key id of the person who asked; null for all others. */
  readonly requestedBy: string | null;
  /** There is a job, or a reason why not. */
  readonly answered: boolean;
}

export interface StoredPolicy {
  readonly spec: unknown;
  /** Key id of whoever wrote it last. */
  readonly updatedBy: string | null;
}

export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly fields: readonly FieldError[];
}

export type SignalAnswer = { readonly jobId: string } | { readonly refusal: Refusal };

/** A signal that somebody asks for; the drift monitor decides it. */
export interface SignalRequest {
  readonly project: string;
  readonly signalId: string;
  readonly model: string;
  readonly version: number | null;
  readonly source: SignalSource;
  readonly causes: readonly string[];
  readonly evidence: unknown;
  readonly requestedBy: string | null;
  readonly atMs: number;
}

export interface RetrainStore {
  findSignal(project: string, signalId: string): Promise<StoredSignal | null>;
  findPolicy(project: string, model: string): Promise<StoredPolicy | null>;
  /** False when a signal with the id is there already; it stays as it is. */
  request(request: SignalRequest): Promise<boolean>;
  /** The first answer stays. */
  answer(signal: { readonly project: string; readonly signalId: string }, answer: SignalAnswer): Promise<void>;
}

export interface SignalPorts {
  readonly gateway: Gateway;
  readonly retrains: RetrainStore;
  readonly subscription: Pick<Subscription, 'commit'>;
}

export interface SignalCounts {
  submitted: number;
  refused: number;
  /** Sent by another system: stored for the drift monitor to decide. */
  requested: number;
  /** Decided or answered already. */
  repeated: number;
  unreadable: number;
}

/**
 * One batch of `retrain.signals`. What the drift monitor decided becomes a retrain job, once (the signal's id is its idempotency key), and the row
 * says which, or why there is none. What another system sends has no row: it becomes a request, which the drift monitor decides and then sends itself.
 * Throws what is retryable: the batch is taken again.
 */
export async function takeSignals(
  { gateway, retrains, subscription }: SignalPorts,
  messages: readonly ReceivedMessage[],
  nowMs: number,
): Promise<SignalCounts> {
  await gateway.codec.prepare(messages.map((message) => message.value));
  const letters: OutgoingMessage[] = [];
  const counts: SignalCounts = { submitted: 0, refused: 0, requested: 0, repeated: 0, unreadable: 0 };
  for (const received of messages) {
    const decoded = decodeMessage(gateway.codec, received);
    if (!decoded.ok) {
      counts.unreadable++;
      letters.push(deadLetter(gateway.codec, received, decoded, CONSUMER, nowMs));
      continue;
    }
    if (decoded.message.type !== 'RetrainSignalled') continue;
    const request = requestOf(decoded.message.payload);
    if (typeof request === 'string') {
      counts.unreadable++;
      const refusal = { code: 'ValidationFailed' as const, reason: request };
      letters.push(deadLetter(gateway.codec, received, refusal, CONSUMER, nowMs));
      continue;
    }
    counts[await takeOne(gateway, retrains, request)]++;
  }
  if (letters.length > 0) await gateway.jobs.publish(letters);
  const ends = new Map(messages.map((m) => [m.partition, m]));
  await subscription.commit(
    [...ends.values()].map(({ topic, partition, offset }) => ({ topic, partition, nextOffset: offset + 1 })),
  );
  return counts;
}

async function takeOne(gateway: Gateway, retrains: RetrainStore, request: SignalRequest): Promise<keyof SignalCounts> {
  const signal = await retrains.findSignal(request.project, request.signalId);
  if (signal === null) return (await retrains.request(request)) ? 'requested' : 'repeated';
  if (signal.outcome !== 'signalled' || signal.answered || signal.model !== request.model) return 'repeated';
  const policy = await retrains.findPolicy(signal.project, signal.model);
  const answer = await submitRetrain(gateway, signal, policy);
  await retrains.answer(signal, answer);
  return 'jobId' in answer ? 'submitted' : 'refused';
}

/** Throws `ValidationFailed`, with the policy's own pointers, when a job of the policy would be refused today. Its money is another day's. */
export async function checkPolicyJob(
  gateway: Gateway,
  {
    project,
    model,
    spec,
    by,
  }: { readonly project: string; readonly model: string; readonly spec: unknown; readonly by: string },
): Promise<void> {
  const reason = { source: 'manual', signalId: 'signal', causes: [] };
  const body = { type: 'retrain', spec: retrainSpecOf(model, spec, reason) };
  try {
    await submitJob(gateway, { project, body, submittedBy: by, dryRun: true });
  } catch (error) {
    if (!(error instanceof TrainyardError) || error.code !== 'BudgetExhausted') throw error;
  }
}

/** The job of a decided signal: the same checks, budget and idempotency as any other. Throws what is retryable; a refusal is a value. */
async function submitRetrain(
  gateway: Gateway,
  signal: StoredSignal,
  policy: StoredPolicy | null,
): Promise<SignalAnswer> {
  const { project, signalId, model, source, causes } = signal;
  if (policy === null) return { refusal: refusalOf('NotFound', `model ${model} has no retrain policy (any more)`) };
  const reason = {
    source,
    signalId,
    causes: causes.slice(0, MAX_CAUSES).map((cause) => cause.slice(0, MAX_CAUSE_LENGTH)),
  };
  const body = { type: 'retrain', idempotencyKey: signalId, spec: retrainSpecOf(model, policy.spec, reason) };
  const submittedBy = signal.requestedBy ?? policy.updatedBy ?? CONSUMER;
  try {
    return { jobId: jobOf(await submitJob(gateway, { project, body, submittedBy, releasedBy: policy.updatedBy })) };
  } catch (error) {
    if (error instanceof TrainyardError && !error.retryable)
      return { refusal: refusalOf(error.code, error.message, error.fields) };
    throw error;
  }
}

function jobOf(result: SubmitResult): string {
  switch (result.kind) {
    case 'created':
    case 'existing':
      return result.job.id;
    case 'dryRun':
      throw new Error('a signal asks for no dry run');
    default:
      return assertNever(result);
  }
}

const refusalOf = (code: string, message: string, fields: readonly FieldError[] = []): Refusal => ({
  code,
  message,
  fields,
});

/** A signal that can be stored, or the field that is wrong. */
function requestOf(payload: RetrainSignalled): SignalRequest | string {
  const { project, model, signalId, modelVersion, source, causes, detailJson, atMs } = payload;
  const known = SIGNAL_SOURCES.find((each) => each === source);
  if (!SIGNAL_ID.test(signalId)) return `signalId does not match ${SIGNAL_ID.source}`;
  if (!NAME.test(project)) return 'project is no project name';
  if (!NAME.test(model)) return 'model is no model name';
  if (known === undefined) return `source is none of ${SIGNAL_SOURCES.join(', ')}`;
  if (unstorable(causes).length > 0) return 'causes hold text that cannot be stored';
  const evidence = evidenceOf(detailJson);
  if (evidence === null) return 'detailJson is not a JSON object of storable text';
  return { project, signalId, model, version: modelVersion, source: known, causes, evidence, requestedBy: null, atMs };
}

function evidenceOf(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject && unstorable(value).length === 0 ? value : null;
  } catch {
    return null;
  }
}
