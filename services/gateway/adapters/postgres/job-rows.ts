import type { JobStatus, JobType } from '#lib/contracts/jobs.ts';
import type { JobRow } from '../../app/ports.ts';

/** Set on a deleted job. Labels of users cannot have this name (it has a dot). */
export const DELETED_LABEL = 'trainyard.deleted';

/** For a `where`: the job is not deleted. */
export const VISIBLE = `not labels ? '${DELETED_LABEL}'`;

export const JOB_COLUMNS = `id, project, type, idempotency_key, request_digest, workflow_id, priority, spec, labels, description, status, step,
  result, error, gpu_seconds_estimate, submitted_at, started_at, finished_at, parent_job_id, submitted_by`;

export interface JobRecord {
  id: string;
  project: string;
  type: string;
  idempotency_key: string;
  request_digest: string;
  workflow_id: string;
  priority: number;
  spec: unknown;
  labels: Record<string, string>;
  description: string;
  status: string;
  step: string | null;
  result: unknown;
  error: unknown;
  gpu_seconds_estimate: number;
  submitted_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
  parent_job_id: string | null;
  submitted_by: string | null;
}

export function jobRow(record: JobRecord): JobRow {
  const { [DELETED_LABEL]: deleted, ...labels } = record.labels;
  return {
    id: record.id,
    project: record.project,
    type: record.type as JobType,
    idempotencyKey: record.idempotency_key,
    requestDigest: record.request_digest,
    workflowId: record.workflow_id,
    priority: record.priority,
    spec: record.spec,
    labels,
    description: record.description,
    status: record.status as JobStatus,
    step: record.step,
    result: record.result,
    error: record.error,
    gpuSecondsEstimate: record.gpu_seconds_estimate,
    submittedAt: record.submitted_at,
    startedAt: record.started_at,
    finishedAt: record.finished_at,
    parentJobId: record.parent_job_id,
    submittedBy: record.submitted_by,
    deleted: deleted !== undefined,
  };
}

export const INSERT_JOB = {
  name: 'gateway_insert_job',
  // No conflict target: with one, a parallel insert could fail on the unique workflow id before it is seen to be the same key.
  text: `
    insert into jobs (id, project, type, idempotency_key, request_digest, workflow_id, priority, spec, labels, description, status,
                      gpu_seconds_estimate, submitted_at, submitted_by)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) on conflict do nothing`,
};

export const insertValues = (job: JobRow): unknown[] => [
  job.id,
  job.project,
  job.type,
  job.idempotencyKey,
  job.requestDigest,
  job.workflowId,
  job.priority,
  JSON.stringify(job.spec),
  JSON.stringify(job.labels),
  job.description,
  job.status,
  job.gpuSecondsEstimate,
  job.submittedAt,
  job.submittedBy,
];
