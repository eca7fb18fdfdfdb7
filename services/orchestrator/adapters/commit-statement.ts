import type { SqlCall } from '#lib/bus/port.ts';
import { boolArray, int4Array, int8Array, jsonbArray, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Commit } from '../app/commit.ts';

/**
 * One `select f(...), g(...)` for everything a batch led to: one round trip, one implicit transaction. PostgreSQL evaluates a
 * target list from left to right, so the fence comes first; the bus's own calls come last. Parts without rows are left out; the statement's name says which parts it has, so that each form is planned once.
 */
export function commitStatement(
  commit: Commit,
  busCalls: readonly SqlCall[],
): { name: string; text: string; values: unknown[] } {
  const parts = [
    fence(commit),
    ...(commit.events.length > 0 ? [append(commit)] : []),
    ...(commit.workflows.length > 0 ? [saveWorkflows(commit)] : []),
    ...(commit.extras.length > 0 ? [saveExtras(commit)] : []),
    ...(commit.children.length > 0 ? [saveChildren(commit)] : []),
    ...(commit.reopened.length > 0 ? [reopen(commit)] : []),
    ...(commit.approvals.length > 0 ? [saveApprovals(commit)] : []),
    ...(commit.promotions.length > 0 ? [appendPromotions(commit)] : []),
    ...(commit.splitsStarted.length > 0 ? [startSplits(commit)] : []),
    ...(commit.splitsEnded.length > 0 ? [endSplits(commit)] : []),
    ...(commit.activities.length > 0 ? [saveActivities(commit)] : []),
    ...(commit.progress.length > 0 || commit.metrics.length > 0 ? [saveProgress(commit)] : []),
    ...(commit.jobs.length > 0 ? [saveJobs(commit)] : []),
    ...(commit.timersSet.length > 0 || commit.timersRemoved.length > 0 ? [saveTimers(commit)] : []),
    ...(commit.workers.length > 0 ? [saveWorkers(commit)] : []),
    ...(commit.remotePlacements.length > 0 ? [place(commit)] : []),
    ...(commit.notifyPeers === null ? [] : [{ call: 'pg_notify', parameters: [PEERS_CHANNEL, commit.notifyPeers] }]),
    ...busCalls,
  ];
  let next = 1;
  const calls = parts.map((part) => `${part.call}(${part.parameters.map(() => `$${next++}`).join(', ')})`);
  return {
    name: parts.map((part) => SHORT_NAMES[part.call] ?? part.call).join('+'),
    text: `select ${calls.join(', ')}`,
    values: parts.flatMap((part) => part.parameters),
  };
}

/** Orchestrators that share a database wake each other here: queued work for the dispatcher, placements for the shards. */
export const PEERS_CHANNEL = 'orchestrator_peers';

/** Statement names have at most 63 bytes. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  orchestrator_fence: 'f',
  orchestrator_append: 'e',
  orchestrator_save_workflows: 'w',
  orchestrator_save_workflow_extras: 'x',
  orchestrator_save_children: 'h',
  orchestrator_reopen_jobs: 'o',
  orchestrator_save_approvals: 'q',
  promotion_append: 'm',
  traffic_split_start: 's',
  traffic_split_end: 'z',
  orchestrator_save_activities: 'a',
  orchestrator_save_progress: 'p',
  orchestrator_save_jobs: 'j',
  orchestrator_save_timers: 't',
  orchestrator_save_workers: 'k',
  orchestrator_place: 'r',
  pg_notify: 'n',
  bus_commit: 'c',
  bus_publish: 'b',
};

const fence = ({ fences }: Commit): SqlCall => ({
  call: 'orchestrator_fence',
  parameters: [int4Array(fences.map((f) => f.shard)), int8Array(fences.map((f) => f.epoch))],
});

const append = ({ events }: Commit): SqlCall => ({
  call: 'orchestrator_append',
  parameters: [
    textArray(events.map((e) => e.workflowId)),
    int4Array(events.map((e) => e.seq)),
    textArray(events.map((e) => e.type)),
    jsonbArray(events.map((e) => e.dataJson)),
    textArray(events.map((e) => e.messageId)),
    int8Array(events.map((e) => e.atMs)),
    textArray(events.map((e) => e.state)),
  ],
});

const saveWorkflows = ({ workflows }: Commit): SqlCall => ({
  call: 'orchestrator_save_workflows',
  parameters: [
    textArray(workflows.map((w) => w.workflowId)),
    int4Array(workflows.map((w) => w.partition)),
    textArray(workflows.map((w) => w.definition)),
    textArray(workflows.map((w) => w.jobId)),
    textArray(workflows.map((w) => w.project)),
    int4Array(workflows.map((w) => w.priority)),
    int8Array(workflows.map((w) => w.submittedAtMs)),
    textArray(workflows.map((w) => w.status)),
    textArray(workflows.map((w) => w.state)),
    int4Array(workflows.map((w) => w.seq)),
    boolArray(workflows.map((w) => w.running)),
    int8Array(workflows.map((w) => w.deadlineAtMs)),
    jsonbArray(workflows.map((w) => w.snapshotJson)),
    int4Array(workflows.map((w) => w.snapshotSeq)),
    textArray(workflows.map((w) => w.parkedReason)),
  ],
});

const saveExtras = ({ extras }: Commit): SqlCall => ({
  call: 'orchestrator_save_workflow_extras',
  parameters: [
    textArray(extras.map((e) => e.workflowId)),
    boolArray(extras.map((e) => e.paused)),
    jsonbArray(extras.map((e) => (e.parent === null ? null : JSON.stringify(e.parent)))),
    int8Array(extras.map((e) => e.deadlineAtMs)),
  ],
});

const saveChildren = ({ children }: Commit): SqlCall => ({
  call: 'orchestrator_save_children',
  parameters: [
    textArray(children.map((c) => c.jobId)),
    textArray(children.map((c) => c.parentJobId)),
    textArray(children.map((c) => c.jobType)),
    textArray(children.map((c) => c.keySuffix)),
    textArray(children.map((c) => c.workflowId)),
    jsonbArray(children.map((c) => c.specJson)),
    int8Array(children.map((c) => c.atMs)),
  ],
});

const reopen = ({ reopened }: Commit): SqlCall => ({
  call: 'orchestrator_reopen_jobs',
  parameters: [textArray(reopened)],
});

const saveApprovals = ({ approvals }: Commit): SqlCall => ({
  call: 'orchestrator_save_approvals',
  parameters: [
    textArray(approvals.map((a) => a.id)),
    textArray(approvals.map((a) => a.project)),
    textArray(approvals.map((a) => a.jobId)),
    textArray(approvals.map((a) => a.workflowId)),
    textArray(approvals.map((a) => a.ticket.approval)),
    textArray(approvals.map((a) => a.ticket.status)),
    jsonbArray(approvals.map((a) => JSON.stringify(a.ticket.subject))),
    textArray(approvals.map((a) => a.ticket.digest)),
    textArray(approvals.map((a) => a.ticket.submittedBy)),
    int4Array(approvals.map((a) => a.ticket.required)),
    jsonbArray(approvals.map((a) => (a.ticket.approvers === null ? null : JSON.stringify(a.ticket.approvers)))),
    jsonbArray(approvals.map((a) => JSON.stringify(a.ticket.votes))),
    int8Array(approvals.map((a) => a.ticket.requestedAtMs)),
    int8Array(approvals.map((a) => a.ticket.expiresAtMs)),
    int8Array(approvals.map((a) => a.ticket.decidedAtMs)),
    int4Array(approvals.map((a) => a.ticket.reminders)),
  ],
});

const appendPromotions = ({ promotions }: Commit): SqlCall => ({
  call: 'promotion_append',
  parameters: [
    textArray(promotions.map((p) => p.project)),
    textArray(promotions.map((p) => p.model)),
    int4Array(promotions.map((p) => p.version)),
    textArray(promotions.map((p) => p.stage)),
    textArray(promotions.map((p) => p.jobId)),
    textArray(promotions.map((p) => p.requestedBy)),
    textArray(promotions.map((p) => p.reason)),
    int8Array(promotions.map((p) => p.atMs)),
  ],
});

const startSplits = ({ splitsStarted }: Commit): SqlCall => ({
  call: 'traffic_split_start',
  parameters: [
    textArray(splitsStarted.map((s) => s.project)),
    textArray(splitsStarted.map((s) => s.model)),
    int4Array(splitsStarted.map((s) => s.canary)),
    int4Array(splitsStarted.map((s) => s.baseline)),
    splitsStarted.map((s) => s.weightPercent),
    textArray(splitsStarted.map((s) => s.jobId)),
    textArray(splitsStarted.map((s) => s.workflowId)),
    jsonbArray(splitsStarted.map((s) => s.policyJson)),
    int8Array(splitsStarted.map((s) => s.atMs)),
  ],
});

const endSplits = ({ splitsEnded }: Commit): SqlCall => ({
  call: 'traffic_split_end',
  parameters: [
    textArray(splitsEnded.map((s) => s.project)),
    textArray(splitsEnded.map((s) => s.model)),
    textArray(splitsEnded.map((s) => s.jobId)),
    textArray(splitsEnded.map((s) => s.outcome)),
    int8Array(splitsEnded.map((s) => s.atMs)),
  ],
});

const saveActivities = ({ activities }: Commit): SqlCall => ({
  call: 'orchestrator_save_activities',
  parameters: [
    textArray(activities.map((a) => a.workflowId)),
    textArray(activities.map((a) => a.activityId)),
    textArray(activities.map((a) => a.name)),
    textArray(activities.map((a) => a.lane)),
    textArray(activities.map((a) => a.state)),
    int4Array(activities.map((a) => a.epoch)),
    int4Array(activities.map((a) => a.failures)),
    int4Array(activities.map((a) => a.preemptions)),
    int8Array(activities.map((a) => a.notBeforeMs)),
    int8Array(activities.map((a) => a.queuedAtMs)),
    int8Array(activities.map((a) => a.placedAtMs)),
    int8Array(activities.map((a) => a.startedAtMs)),
    int8Array(activities.map((a) => a.endedAtMs)),
    int8Array(activities.map((a) => a.startToCloseMs)),
    textArray(activities.map((a) => a.workerId)),
    textArray(activities.map((a) => a.incarnation)),
    int4Array(activities.map((a) => a.lanePartition)),
    jsonbArray(activities.map((a) => a.errorJson)),
    int8Array(activities.map((a) => a.waitingMs)),
    int8Array(activities.map((a) => a.usefulMs)),
    int8Array(activities.map((a) => a.lostMs)),
  ],
});

const saveProgress = ({ progress, metrics }: Commit): SqlCall => ({
  call: 'orchestrator_save_progress',
  parameters: [
    textArray(progress.map((p) => p.workflowId)),
    textArray(progress.map((p) => p.activityId)),
    int4Array(progress.map((p) => p.epoch)),
    jsonbArray(progress.map((p) => p.progressJson)),
    textArray(metrics.map((m) => m.jobId)),
    textArray(metrics.map((m) => m.activityId)),
    textArray(metrics.map((m) => m.name)),
    int4Array(metrics.map((m) => m.step)),
    metrics.map((m) => m.value),
    int4Array(metrics.map((m) => m.epoch)),
  ],
});

const saveJobs = ({ jobs }: Commit): SqlCall => ({
  call: 'orchestrator_save_jobs',
  parameters: [
    textArray(jobs.map((j) => j.jobId)),
    textArray(jobs.map((j) => j.status)),
    textArray(jobs.map((j) => j.step)),
    jsonbArray(jobs.map((j) => j.resultJson)),
    jsonbArray(jobs.map((j) => j.errorJson)),
    int8Array(jobs.map((j) => j.atMs)),
    boolArray(jobs.map((j) => j.finished)),
    jobs.map((j) => j.gpuSeconds),
  ],
});

const saveTimers = ({ timersSet, timersRemoved }: Commit): SqlCall => ({
  call: 'orchestrator_save_timers',
  parameters: [
    textArray(timersSet.map((t) => t.workflowId)),
    textArray(timersSet.map((t) => t.name)),
    int4Array(timersSet.map((t) => t.partition)),
    int8Array(timersSet.map((t) => t.fireAtMs)),
    textArray(timersRemoved.map((t) => t.workflowId)),
    textArray(timersRemoved.map((t) => t.name)),
  ],
});

const saveWorkers = ({ workers }: Commit): SqlCall => ({
  call: 'orchestrator_save_workers',
  parameters: [
    textArray(workers.map((w) => w.workerId)),
    textArray(workers.map((w) => w.incarnation)),
    textArray(workers.map((w) => w.lane)),
    int4Array(workers.map((w) => w.slots)),
    int4Array(workers.map((w) => w.running)),
    textArray(workers.map((w) => `{${w.partitions.join(',')}}`)),
    jsonbArray(workers.map((w) => w.deviceJson)),
    int8Array(workers.map((w) => w.seenAtMs)),
  ],
});

const place = ({ remotePlacements }: Commit): SqlCall => ({
  call: 'orchestrator_place',
  parameters: [
    textArray(remotePlacements.map((p) => p.workflowId)),
    textArray(remotePlacements.map((p) => p.activityId)),
    int4Array(remotePlacements.map((p) => p.epoch)),
    textArray(remotePlacements.map((p) => p.workerId)),
    int4Array(remotePlacements.map((p) => p.lanePartition)),
    int8Array(remotePlacements.map((p) => p.atMs)),
  ],
});
