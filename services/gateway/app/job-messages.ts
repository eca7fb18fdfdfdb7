import type { OutgoingMessage } from '#lib/bus/port.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { Gateway, JobRow } from './ports.ts';

export const SOURCE = '/trainyard/gateway';

/** What goes out with a job that is stored: the orchestrator's command, and the answer to everybody. `requestId`: of a `JobRequested`. */
export function startMessages(
  gateway: Pick<Gateway, 'codec'>,
  job: JobRow,
  input: object,
  requestId: string | null,
): OutgoingMessage[] {
  const timeMs = job.submittedAt.getTime();
  const { id: jobId, project, type: jobType, workflowId, priority, submittedBy } = job;
  return [
    encodeMessage(gateway.codec, {
      topic: 'orchestrator.commands',
      key: workflowId,
      type: 'StartWorkflow',
      payload: {
        workflowId,
        jobId,
        project,
        jobType,
        priority,
        submittedAtMs: timeMs,
        inputJson: JSON.stringify(input),
        parentJson: null,
        submittedBy,
      },
      envelope: { id: `start:${workflowId}`, source: SOURCE, timeMs },
    }),
    acceptedMessage(gateway, job, requestId),
  ];
}

/** Tells everybody, and the producer of the request, that the job is in. A second request for the job gets an answer of its own. */
export function acceptedMessage(
  { codec }: Pick<Gateway, 'codec'>,
  job: JobRow,
  requestId: string | null,
): OutgoingMessage {
  const { id: jobId, project, type: jobType, workflowId, idempotencyKey } = job;
  return encodeMessage(codec, {
    topic: 'jobs.events',
    key: project,
    type: 'JobAccepted',
    payload: { jobId, project, jobType, workflowId, requestId, idempotencyKey },
    envelope: {
      id: requestId === null ? `accepted:${jobId}` : `accepted:${jobId}:${requestId}`,
      source: SOURCE,
      timeMs: job.submittedAt.getTime(),
    },
  });
}
