import type { Database } from '#lib/postgres/database.ts';

/** A fact of the log with what measuring needs of it. */
export interface MeasuredFact {
  readonly workflowId: string;
  readonly jobId: string;
  readonly type: string;
  readonly atMs: number;
  readonly activityId: string | null;
  readonly epoch: number | null;
  readonly workerId: string | null;
  readonly startedAtMs: number | null;
}

interface Row {
  readonly workflow_id: string;
  readonly job_id: string;
  readonly type: string;
  readonly at_ms: number;
  readonly activity: string | null;
  readonly epoch: number | null;
  readonly worker: string | null;
  readonly started: number | null;
}

/** The whole log, in order of time. */
export async function readFacts(database: Database): Promise<MeasuredFact[]> {
  const { rows } = await database.query<Row>(
    `select e.workflow_id, w.job_id, e.type, e.at_ms, e.data->>'activityId' as activity, (e.data->>'epoch')::int as epoch,
       e.data->>'workerId' as worker, (e.data->>'startedAtMs')::bigint as started
     from events e join workflows w using (workflow_id) order by e.at_ms, e.workflow_id, e.seq`,
  );
  return rows.map((row) => ({
    workflowId: row.workflow_id,
    jobId: row.job_id,
    type: row.type,
    atMs: row.at_ms,
    activityId: row.activity,
    epoch: row.epoch,
    workerId: row.worker,
    startedAtMs: row.started,
  }));
}

/** An attempt that ended without a result of its own: what it had done after its last checkpoint is lost. */
export interface LostAttempt {
  readonly jobId: string;
  readonly activityId: string;
  readonly epoch: number;
  readonly workerId: string | null;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** It said so itself; else its lease ended. */
  readonly failed: boolean;
  readonly lostMs: number;
}

/** By the rules of the ledger (services/orchestrator/domain/activity-ledger.ts), from the facts alone. */
export function lostAttempts(facts: readonly MeasuredFact[]): LostAttempt[] {
  const open = new Map<string, { startedAtMs: number; checkpointAtMs: number | null; workerId: string | null }>();
  const lost: LostAttempt[] = [];
  for (const fact of facts) {
    const { activityId, epoch, atMs } = fact;
    if (activityId === null || epoch === null) continue;
    const key = `${fact.workflowId}/${activityId}/${epoch}`;
    switch (fact.type) {
      case 'ActivityStarted':
        open.set(key, { startedAtMs: fact.startedAtMs ?? atMs, checkpointAtMs: null, workerId: fact.workerId });
        break;
      case 'CheckpointSaved': {
        const attempt = open.get(key);
        if (attempt !== undefined) attempt.checkpointAtMs = atMs;
        break;
      }
      case 'ActivityFailed':
      case 'LeaseEnded': {
        const startedAtMs = open.get(key)?.startedAtMs ?? fact.startedAtMs;
        if (startedAtMs === null) break;
        const from = Math.max(startedAtMs, open.get(key)?.checkpointAtMs ?? 0);
        const workerId = open.get(key)?.workerId ?? fact.workerId;
        const end = {
          startedAtMs,
          endedAtMs: atMs,
          failed: fact.type === 'ActivityFailed',
          lostMs: Math.max(0, atMs - from),
        };
        lost.push({ jobId: fact.jobId, activityId, epoch, workerId, ...end });
        break;
      }
      default:
    }
  }
  return lost;
}
