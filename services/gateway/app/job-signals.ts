import { encodeMessage } from '#lib/contracts/envelope.ts';
import { JOB_STATUS, type JobStatus } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { sortableId } from './ids.ts';
import { conflict, findJob, OPEN_STATUSES } from './job-commands.ts';
import { SOURCE } from './job-messages.ts';
import type { Gateway, JobRow } from './ports.ts';

interface SignalRule {
  /** Statuses of a job that the signal means something for. */
  readonly statuses: readonly JobStatus[];
  readonly refusal: string;
}

/** What people may ask of a job while it is there. */
const SIGNAL_RULES = {
  /** Checkpoint, stop, and place nothing until it is resumed. Of a paused job: nothing happens. */
  pause: { statuses: OPEN_STATUSES, refusal: 'cannot be paused' },
  resume: { statuses: [JOB_STATUS.paused], refusal: 'can only be resumed while it is PAUSED' },
  /** Back to the step that failed, with its checkpoint and a full set of attempts. */
  retry: { statuses: [JOB_STATUS.failed], refusal: 'can only be retried when it is FAILED' },
} as const satisfies Record<string, SignalRule>;

export type JobSignal = keyof typeof SIGNAL_RULES;
export const JOB_SIGNALS = Object.keys(SIGNAL_RULES) as readonly JobSignal[];

/**
 * Asks the orchestrator to pause, resume or retry a job; the answer is the job as it was then. What becomes of it is read from its status: the
 * orchestrator decides again when the signal arrives, and one that means nothing any more is recorded without effect, so asking twice does no
 * harm. Throws `NotFound`, `StateConflict`.
 */
export async function signalJob(
  gateway: Gateway,
  request: {
    readonly id: string;
    readonly project: string | null;
    readonly signal: JobSignal;
    readonly by: string;
    readonly reason: string | null;
  },
): Promise<JobRow> {
  const { signal, by, reason } = request;
  const job = await findJob(gateway, request.id, request.project);
  if (signal === 'retry' && job.status === JOB_STATUS.failed) await refuseWithoutStep(gateway, job);
  const { workflowId } = job;
  const nowMs = gateway.now();
  const message = encodeMessage(gateway.codec, {
    topic: 'orchestrator.commands',
    key: workflowId,
    type: 'SignalWorkflow',
    payload: {
      workflowId,
      signal,
      dataJson: JSON.stringify(signal === 'pause' ? { reason } : {}),
      requestedBy: by,
    },
    // A job is paused and resumed again and again: each request is a message of its own.
    envelope: { id: `${signal}:${workflowId}:${sortableId(nowMs)}`, source: SOURCE, timeMs: nowMs },
  });
  const { statuses, refusal }: SignalRule = SIGNAL_RULES[signal];
  const outcome = await gateway.jobs.publishWhile(job.id, statuses, [message]);
  if (outcome === null) throw new TrainyardError('NotFound', `there is no job ${request.id}`);
  if (!outcome.published) throw conflict(outcome.job, refusal);
  return outcome.job;
}

/** The orchestrator would ignore the signal, and whoever sent it would wait: it goes on only where a single step failed. */
async function refuseWithoutStep({ jobs }: Gateway, job: JobRow): Promise<void> {
  const { singleStep, childId } = await jobs.failureOf(job);
  if (singleStep) return;
  throw conflict(
    job,
    childId === null
      ? 'cannot be retried: no single step of it failed'
      : `cannot be retried: retry its child ${childId}, which failed`,
  );
}
