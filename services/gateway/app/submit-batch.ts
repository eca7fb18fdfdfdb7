import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import type { Submission } from '../domain/submission.ts';
import { type NewJob, parse, planJob, snapshotQuery, type SubmitRequest } from './plan-job.ts';
import type { Gateway, SubmissionSnapshot } from './ports.ts';
import { Lookups } from './references.ts';
import { submitJob, type SubmitResult } from './submit-job.ts';

/** What became of a request; refusals are values here, trouble that may pass is thrown. */
export type BatchResult = SubmitResult | { readonly kind: 'refused'; readonly error: TrainyardError };

/**
 * `submitJob` for many at once: the same checks and the same results, in the order of the requests, with one look at the database and
 * one transaction for all that are new. Whatever does not go smoothly there (a key that came twice, a budget that is not enough for all) is done
 * again one by one, as REST does it. Throws what is retryable; what was stored until then is found again as existing.
 */
export async function submitBatch(gateway: Gateway, requests: readonly SubmitRequest[]): Promise<BatchResult[]> {
  // 1. Schemas.
  const parsed = requests.map((request) => refusable(() => parse(request)));
  // 2. One look for all.
  const good = parsed.flatMap((submission, at) => (submission instanceof TrainyardError ? [] : [{ submission, at }]));
  const snapshots = await gateway.jobs.snapshots(
    good.map(({ submission, at }) => snapshotQuery(requests[at]?.project ?? '', submission)),
  );
  // 3. The rules; each model is looked up once.
  const lookups = new Lookups(gateway);
  const plans = new Map<number, NewJob>();
  const results = new Map<number, BatchResult>();
  for (const [n, { submission, at }] of good.entries()) {
    const request = requests[at];
    if (request === undefined) continue;
    const plan = await planOne(gateway, request, submission, snapshots[n] ?? null, lookups);
    if (plan instanceof TrainyardError) results.set(at, { kind: 'refused', error: plan });
    else if (plan !== null) plans.set(at, plan);
  }
  // 4. One transaction.
  const created = await gateway.jobs.insertAll([...plans.values()].map(({ job, messages }) => ({ job, messages })));
  for (const [at, { job }] of plans) if (created.has(job.id)) results.set(at, { kind: 'created', job });
  // 5. The rest, as one at a time would do it.
  const all: BatchResult[] = [];
  for (const [at, request] of requests.entries()) {
    const submission = parsed[at];
    if (submission instanceof TrainyardError) all.push({ kind: 'refused', error: submission });
    else all.push(results.get(at) ?? (await submitOne(gateway, request)));
  }
  return all;
}

/** A new job; a refusal; or null for what is to be looked at by itself. */
async function planOne(
  gateway: Gateway,
  request: SubmitRequest,
  submission: Submission,
  snapshot: SubmissionSnapshot | null,
  lookups: Lookups,
): Promise<NewJob | TrainyardError | null> {
  const plan = await refusableLater(() => planJob(gateway, request, { submission, snapshot, lookups }));
  if (plan instanceof TrainyardError) return plan;
  return plan.kind === 'new' ? plan : null;
}

async function submitOne(gateway: Gateway, request: SubmitRequest): Promise<BatchResult> {
  const result = await refusableLater(() => submitJob(gateway, request));
  return result instanceof TrainyardError ? { kind: 'refused', error: result } : result;
}

function refusable<T>(work: () => T): T | TrainyardError {
  try {
    return work();
  } catch (error) {
    return refusalOrThrow(error);
  }
}

async function refusableLater<T>(work: () => Promise<T>): Promise<T | TrainyardError> {
  try {
    return await work();
  } catch (error) {
    return refusalOrThrow(error);
  }
}

/** A refusal is an answer; what may pass by itself is thrown. */
export function refusalOrThrow(error: unknown): TrainyardError {
  if (error instanceof TrainyardError && !error.retryable) return error;
  throw error instanceof Error ? error : new Error(messageOf(error));
}
