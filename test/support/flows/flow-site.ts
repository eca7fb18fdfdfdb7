import { randomUUID } from 'node:crypto';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { JobType } from '#lib/contracts/jobs.ts';
import type { Database } from '#lib/postgres/database.ts';
import { PROFILES, workflowRegistry } from '../../../services/orchestrator/domain/workflows/registry.ts';
import { codec } from '../engine-harness.ts';

/** The shipped flows; a failed attempt is tried again at once. */
export const impatientRegistry = () =>
  workflowRegistry(
    Object.fromEntries(
      Object.entries(PROFILES).map(([type, profile]) => [
        type,
        { ...profile, retry: { ...profile.retry, initialIntervalMs: 20, maxIntervalMs: 100 } },
      ]),
    ),
  );

export async function createProject(database: Database, cap = 100): Promise<void> {
  await database.query(
    'insert into projects (id, max_running_workflows, gpu_seconds_budget) values ($1, $2, 1e6) on conflict do nothing',
    ['demo', cap],
  );
}

/** The row of a job as the gateway writes it, with its reservation, and the command that starts it. */
export async function takeIn(
  database: Database,
  workflowId: string,
  jobType: JobType,
  input: { readonly jobId: string; readonly spec: unknown },
  gpuSecondsEstimate = 0,
): Promise<OutgoingMessage> {
  const { jobId, spec } = input;
  await database.query(
    `insert into jobs (id, project, type, idempotency_key, request_digest, workflow_id, priority, spec, status, gpu_seconds_estimate, submitted_by)
     values ($1, 'demo', $2, $3, '', $3, 1, $4, 'SUBMITTED', $5, 'key-submitter')`,
    [jobId, jobType, workflowId, JSON.stringify(spec), gpuSecondsEstimate],
  );
  await database.query('update projects set gpu_seconds_reserved = gpu_seconds_reserved + $1', [gpuSecondsEstimate]);
  return encodeMessage(codec, {
    topic: 'orchestrator.commands',
    key: workflowId,
    type: 'StartWorkflow',
    payload: {
      workflowId,
      jobId,
      project: 'demo',
      jobType,
      priority: 1,
      submittedAtMs: Date.now(),
      inputJson: JSON.stringify(input),
      parentJson: null,
      submittedBy: 'key-submitter',
    },
    envelope: { id: `start:${workflowId}`, source: '/test', timeMs: Date.now() },
  });
}

/** A signal as the gateway or the drift monitor publishes it; each call is another message unless `id` says otherwise. */
export const signalCommand = (
  workflowId: string,
  signal: string,
  data: object = {},
  requestedBy = 'key-1',
  id: string = randomUUID(),
): OutgoingMessage =>
  encodeMessage(codec, {
    topic: 'orchestrator.commands',
    key: workflowId,
    type: 'SignalWorkflow',
    payload: { workflowId, signal, dataJson: JSON.stringify(data), requestedBy },
    envelope: { id: `signal:${workflowId}:${signal}:${id}`, source: '/test', timeMs: Date.now() },
  });

interface JobRow {
  readonly id: string;
  readonly status: string;
  readonly parent_job_id: string | null;
  readonly submitted_by: string | null;
  readonly finished: boolean;
  readonly result: unknown;
  readonly error: { readonly code: string } | null;
}

/** The jobs whose id begins so, in the order of their ids. */
export async function jobsLike(database: Database, prefix: string): Promise<readonly JobRow[]> {
  const { rows } = await database.query<JobRow>(
    `select id, status, parent_job_id, submitted_by, finished_at is not null as finished, result, error
     from jobs where starts_with(id, $1) order by length(id), id`,
    [prefix],
  );
  return rows;
}
