import { assertNever, TrainyardError } from '#lib/kernel/errors.ts';
import {
  type DryRun,
  type NewJob,
  parse,
  planJob,
  refuseOverBudget,
  snapshotQuery,
  type SubmitRequest,
} from './plan-job.ts';
import type { Gateway, JobRow } from './ports.ts';
import { Lookups } from './references.ts';

export type SubmitResult =
  | { readonly kind: 'created'; readonly job: JobRow }
  /** The same request was made before. */
  | { readonly kind: 'existing'; readonly job: JobRow }
  | DryRun;

/**
 * Takes a job in: exactly once per project and idempotency key, however often and however parallel it is asked for.
 *
 * Throws `ValidationFailed` with a pointer per broken rule, `NotFound` (project), `IdempotencyConflict`, `BudgetExhausted` with the numbers. A
 * dry run checks the same and stores nothing.
 */
export async function submitJob(gateway: Gateway, request: SubmitRequest): Promise<SubmitResult> {
  const submission = parse(request);
  const snapshot = await gateway.jobs.snapshot(snapshotQuery(request.project, submission));
  const plan = await planJob(gateway, request, { submission, snapshot, lookups: new Lookups(gateway) });
  switch (plan.kind) {
    case 'existing':
      return existing(gateway, plan.found, plan.requestDigest);
    case 'dryRun':
      return plan;
    case 'new':
      return insert(gateway, plan);
    default:
      return assertNever(plan);
  }
}

/** One transaction: job, reservation, commands. */
async function insert(gateway: Gateway, { job, messages }: NewJob): Promise<SubmitResult> {
  const inserted = await gateway.jobs.insert(job, messages);
  switch (inserted.kind) {
    case 'created':
      return { kind: 'created', job };
    case 'exists':
      return existing(gateway, inserted.job, job.requestDigest);
    case 'overBudget':
      refuseOverBudget(inserted.budget, job.gpuSecondsEstimate);
      // The budget was raised between the refusal and the read of its numbers.
      throw new TrainyardError('ServiceUnavailable', 'the budget changed while the job was submitted; try again');
    default:
      return assertNever(inserted);
  }
}

async function existing(
  gateway: Gateway,
  found: { readonly id: string; readonly requestDigest: string; readonly deleted: boolean } | null,
  requestDigest: string,
): Promise<SubmitResult> {
  if (found === null)
    throw new TrainyardError(
      'IdempotencyConflict',
      'the idempotency key makes a workflow id that is taken; use another',
    );
  if (found.deleted || found.requestDigest !== requestDigest) {
    const what = found.deleted ? 'for a job that was deleted' : 'with another body';
    throw new TrainyardError('IdempotencyConflict', `the idempotency key was used before ${what}`, {
      details: { jobId: found.id },
    });
  }
  const job = await gateway.jobs.find(found.id, null);
  if (job === null) throw new TrainyardError('StateConflict', 'the job was deleted just now');
  return { kind: 'existing', job };
}
