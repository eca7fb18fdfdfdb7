import { encodeMessage } from '#lib/contracts/envelope.ts';
import { FINAL_STATUSES, JOB_STATUS, type JobStatus } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { SOURCE } from './job-messages.ts';
import type { Gateway, JobRow } from './ports.ts';

/** A job that has not ended. */
export const OPEN_STATUSES: readonly JobStatus[] = Object.values(JOB_STATUS).filter(
  (status) => !FINAL_STATUSES.includes(status),
);

/** The job, if it is in the project (null = any). Throws `NotFound`. */
export async function findJob(gateway: Gateway, id: string, project: string | null): Promise<JobRow> {
  const job = await gateway.jobs.find(id, project);
  if (job === null) throw notFound(id);
  return job;
}

/**
 * Asks the orchestrator to stop a job. Asking twice is the same command; a job that has ended is `StateConflict`. The stop itself happens later:
 * read the job until its status is final.
 */
export async function cancelJob(
  gateway: Gateway,
  request: {
    readonly id: string;
    readonly project: string | null;
    readonly by: string;
    readonly reason: string | null;
  },
): Promise<JobRow> {
  const job = await findJob(gateway, request.id, request.project);
  const { workflowId } = job;
  const command = encodeMessage(gateway.codec, {
    topic: 'orchestrator.commands',
    key: workflowId,
    type: 'CancelJob',
    payload: { workflowId, requestedBy: request.by, reason: request.reason },
    envelope: { id: `cancel:${workflowId}`, source: SOURCE, timeMs: gateway.now() },
  });
  const outcome = await gateway.jobs.publishWhile(job.id, OPEN_STATUSES, [command]);
  if (outcome === null) throw notFound(request.id);
  if (!outcome.published) throw conflict(outcome.job, 'cannot be cancelled');
  return outcome.job;
}

/** Replaces the members that are given. */
export async function changeJob(
  gateway: Gateway,
  request: {
    readonly id: string;
    readonly project: string | null;
    readonly change: { labels?: Readonly<Record<string, string>>; description?: string };
  },
): Promise<JobRow> {
  const job = await findJob(gateway, request.id, request.project);
  const changed = await gateway.jobs.change(job.id, request.change);
  if (changed === null) throw notFound(request.id);
  return changed;
}

/** Removes an ended job and its children from every view. Its idempotency key stays used, and so do its artifacts and its log. */
export async function deleteJob(gateway: Gateway, id: string, project: string | null): Promise<void> {
  const job = await findJob(gateway, id, project);
  if (job.parentJobId !== null) throw conflict(job, `is shown by its parent: delete ${job.parentJobId}`);
  if (!FINAL_STATUSES.includes(job.status)) throw conflict(job, 'cannot be deleted: cancel it first');
  if (await gateway.jobs.hide(job.id)) return;
  if ((await gateway.jobs.find(id, project)) === null) throw notFound(id);
  throw conflict(job, 'has children that go on: cancel them first');
}

const notFound = (id: string): TrainyardError => new TrainyardError('NotFound', `there is no job ${id}`);

/** The state of a job does not allow what was asked. */
export const conflict = (job: JobRow, what: string): TrainyardError =>
  new TrainyardError('StateConflict', `the job is ${job.status}; it ${what}`, {
    details: { jobId: job.id, jobStatus: job.status },
  });
