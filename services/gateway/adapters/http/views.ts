import { chainHolds } from '#lib/contracts/approval-chain.ts';
import { PRIORITIES } from '#lib/contracts/jobs.ts';
import { invariant } from '#lib/kernel/errors.ts';
import type { ApprovalRow } from '../../app/approvals.ts';
import type { DatasetVersion, JobRow, KeyRecord, Project } from '../../app/ports.ts';
import { gpuSecondsFree } from '../../domain/budget.ts';
import type { ActivityRecord, LaneSeconds } from '../postgres/job-queries.ts';
import type { LaneRecord, WorkerRecord } from '../postgres/lane-queries.ts';
import type { Body } from './schemas.ts';

/** Rows as the API shows them. */
const NO_LANE_TIME: LaneSeconds = { useful: 0, lost: 0, waiting: 0 };
const time = (epochMs: number): string => new Date(epochMs).toISOString();
const timeOrNull = (at: number | Date | null): string | null => (at === null ? null : new Date(at).toISOString());

export function jobView(job: JobRow, laneSeconds: LaneSeconds = NO_LANE_TIME): Body<'Job'> {
  const priority = PRIORITIES[job.priority];
  invariant(priority !== undefined, `priority ${job.priority} of ${job.id}`);
  const self = `/v1/jobs/${job.id}`;
  return {
    id: job.id,
    type: job.type,
    project: job.project,
    status: job.status,
    step: job.step,
    priority,
    idempotencyKey: job.idempotencyKey,
    labels: job.labels,
    description: job.description,
    spec: job.spec,
    result: job.result,
    error: job.error,
    gpuSecondsEstimate: job.gpuSecondsEstimate,
    laneSeconds,
    submittedAt: job.submittedAt.toISOString(),
    startedAt: timeOrNull(job.startedAt),
    finishedAt: timeOrNull(job.finishedAt),
    parentJobId: job.parentJobId,
    submittedBy: job.submittedBy,
    links: {
      self,
      events: `${self}/events`,
      activities: `${self}/activities`,
      metrics: `${self}/metrics`,
      artifacts: `${self}/artifacts`,
      lineage: `${self}/lineage`,
      ...(job.type === 'hpo' ? { trials: `${self}/trials` } : {}),
      ...(job.parentJobId === null ? {} : { parent: `/v1/jobs/${job.parentJobId}` }),
    },
  };
}

export const approvalView = (ticket: ApprovalRow): Body<'Approval'> => ({
  id: ticket.id,
  project: ticket.project,
  jobId: ticket.jobId,
  approval: ticket.approval,
  status: ticket.status,
  subject: ticket.subject,
  digest: ticket.digest,
  submittedBy: ticket.submittedBy,
  required: ticket.required,
  approvers: ticket.approvers === null ? null : [...ticket.approvers],
  votes: ticket.votes.map(({ atMs, ...vote }) => ({ ...vote, at: time(atMs) })),
  chainHolds: chainHolds(ticket),
  reminders: ticket.reminders,
  requestedAt: time(ticket.requestedAtMs),
  expiresAt: time(ticket.expiresAtMs),
  decidedAt: timeOrNull(ticket.decidedAtMs),
  links: { self: `/v1/approvals/${ticket.id}`, job: `/v1/jobs/${ticket.jobId}` },
});

export const activityView = (row: ActivityRecord): Body<'ActivityList'>['items'][number] => ({
  id: row.activity_id,
  name: row.name,
  lane: row.lane,
  state: row.state,
  epoch: row.epoch,
  failures: row.failures,
  preemptions: row.preemptions,
  workerId: row.worker_id,
  waitReason: row.wait_reason,
  progress: row.progress,
  error: row.error,
  queuedAt: time(row.queued_at_ms),
  startedAt: timeOrNull(row.started_at_ms),
  endedAt: timeOrNull(row.ended_at_ms),
  laneSeconds: { useful: row.useful_ms / 1_000, lost: row.lost_ms / 1_000, waiting: row.waiting_ms / 1_000 },
});

export const datasetView = (row: DatasetVersion): Body<'DatasetVersion'> => ({
  project: row.project,
  name: row.name,
  version: row.version,
  format: row.format,
  bytes: row.bytes,
  sha256: row.sha256,
  createdAt: row.createdAt.toISOString(),
});

export const projectView = (project: Project): Body<'Project'> => ({
  id: project.id,
  displayName: project.displayName,
  tier: project.tier,
  maxRunningWorkflows: project.maxRunningWorkflows,
  gpuSecondsBudget: project.gpuSecondsBudget,
  gpuSecondsReserved: project.gpuSecondsReserved,
  gpuSecondsUsed: project.gpuSecondsUsed,
  gpuSecondsFree: gpuSecondsFree(project),
  createdAt: project.createdAt.toISOString(),
});

export const keyView = (key: KeyRecord): Body<'ApiKey'> => ({
  id: key.id,
  project: key.project,
  role: key.role,
  name: key.name,
  createdAt: key.createdAt.toISOString(),
  revokedAt: timeOrNull(key.revokedAt),
});

export const laneView = (lane: LaneRecord): Body<'LaneList'>['items'][number] => ({
  lane: lane.lane,
  workers: lane.workers,
  slots: lane.slots,
  free: Math.max(0, lane.slots - lane.running - lane.placed),
  running: lane.running,
  placed: lane.placed,
  queued: lane.queued,
});

export const workerView = (worker: WorkerRecord): Body<'WorkerList'>['items'][number] => ({
  id: worker.worker_id,
  incarnation: worker.incarnation,
  lane: worker.lane,
  slots: worker.slots,
  running: worker.running,
  device: worker.device,
  startedAt: time(worker.started_at_ms),
  lastSeenAt: time(worker.last_seen_ms),
});
