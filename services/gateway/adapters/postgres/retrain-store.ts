import type { RetrainPolicy, SignalOutcome, SignalSource } from '#lib/contracts/retrain-policy.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import type {
  RetrainStore,
  SignalAnswer,
  SignalRequest,
  StoredPolicy,
  StoredSignal,
} from '../../app/retrain-signals.ts';

/** Signals and policies of `0013_drift.sql`, as far as the gateway reads and writes them. */
export class PostgresRetrainStore implements RetrainStore {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  async findSignal(project: string, signalId: string): Promise<StoredSignal | null> {
    const { rows } = await this.#database.query<{
      model: string;
      source: SignalSource;
      outcome: SignalOutcome;
      causes: string[];
      requested_by: string | null;
      answered: boolean;
    }>(
      `select model, source, outcome, causes, requested_by, job_id is not null or refusal is not null as answered
       from drift_signals where project = $1 and signal_id = $2`,
      [project, signalId],
    );
    const [row] = rows;
    if (row === undefined) return null;
    const { requested_by: requestedBy, ...rest } = row;
    return { project, signalId, ...rest, requestedBy };
  }

  async findPolicy(project: string, model: string): Promise<StoredPolicy | null> {
    const stored = await readPolicy(this.#database, project, model);
    return stored === null ? null : { spec: stored.policy.spec, updatedBy: stored.updatedBy };
  }

  async request(request: SignalRequest): Promise<boolean> {
    const { project, signalId, model, version, source, causes, evidence, requestedBy, atMs } = request;
    const { rowCount } = await this.#database.query(
      `insert into drift_signals (project, signal_id, model, version, source, outcome, causes, evidence, requested_by, at_ms)
       values ($1, $2, $3, $4, $5, 'requested', $6, $7, $8, $9) on conflict do nothing`,
      [project, signalId, model, version, source, JSON.stringify(causes), JSON.stringify(evidence), requestedBy, atMs],
    );
    return rowCount > 0;
  }

  async answer(signal: { readonly project: string; readonly signalId: string }, answer: SignalAnswer): Promise<void> {
    await this.#database.query(
      `update drift_signals set job_id = $3, refusal = $4
       where project = $1 and signal_id = $2 and job_id is null and refusal is null`,
      [
        signal.project,
        signal.signalId,
        'jobId' in answer ? answer.jobId : null,
        'refusal' in answer ? JSON.stringify(answer.refusal) : null,
      ],
    );
  }
}

export interface PolicyRecord {
  readonly model: string;
  readonly policy: RetrainPolicy;
  readonly updatedBy: string | null;
  readonly updatedAtMs: number;
  readonly nextFireAtMs: number | null;
  readonly lastFiredAtMs: number | null;
}

export async function readPolicy(database: Queryable, project: string, model: string): Promise<PolicyRecord | null> {
  const { rows } = await database.query<{
    policy: RetrainPolicy;
    updated_by: string | null;
    updated_at_ms: number;
    next_fire_at_ms: number | null;
    last_fired_at_ms: number | null;
  }>(
    `select p.policy, p.updated_by, p.updated_at_ms, s.next_fire_at_ms, s.last_fired_at_ms
     from retrain_policies p left join retrain_schedules s on s.project = p.project and s.model = p.model
     where p.project = $1 and p.model = $2`,
    [project, model],
  );
  const [row] = rows;
  if (row === undefined) return null;
  return {
    model,
    policy: row.policy,
    updatedBy: row.updated_by,
    updatedAtMs: row.updated_at_ms,
    nextFireAtMs: row.next_fire_at_ms,
    lastFiredAtMs: row.last_fired_at_ms,
  };
}

/** Creates or replaces a model's policy; true when it is new. A schedule that stays the same stays where it is: a run that is due is not lost by a change of something else. */
export async function writePolicy(
  database: Database,
  write: {
    readonly project: string;
    readonly model: string;
    readonly policy: RetrainPolicy;
    readonly nextFireAtMs: number | null;
    readonly by: string;
    readonly nowMs: number;
  },
): Promise<boolean> {
  const { project, model, policy, nextFireAtMs, by, nowMs } = write;
  return database.transaction(async (tx) => {
    const { rows } = await tx.query<{ created: boolean }>(
      `insert into retrain_policies (project, model, policy, enabled, updated_by, updated_at_ms) values ($1, $2, $3, $4, $5, $6)
       on conflict (project, model) do update set policy = excluded.policy, enabled = excluded.enabled, updated_by = excluded.updated_by,
         updated_at_ms = excluded.updated_at_ms, revision = nextval('drift_revisions')
       returning xmax = 0 as created`,
      [project, model, JSON.stringify(policy), policy.enabled, by, nowMs],
    );
    const { schedule } = policy;
    if (schedule === undefined)
      await tx.query('delete from retrain_schedules where project = $1 and model = $2', [project, model]);
    else
      await tx.query(
        `insert into retrain_schedules as s (project, model, cron, time_zone, missed_runs, next_fire_at_ms) values ($1, $2, $3, $4, $5, $6)
         on conflict (project, model) do update set cron = excluded.cron, time_zone = excluded.time_zone, missed_runs = excluded.missed_runs,
           next_fire_at_ms = case when s.cron = excluded.cron and s.time_zone = excluded.time_zone
                                  then s.next_fire_at_ms else excluded.next_fire_at_ms end`,
        [project, model, schedule.cron, schedule.timeZone, schedule.missedRuns, nextFireAtMs],
      );
    return rows[0]?.created === true;
  });
}

/** False when there is none. What it signalled before goes on. */
export async function deletePolicy(database: Queryable, project: string, model: string): Promise<boolean> {
  const { rowCount } = await database.query('delete from retrain_policies where project = $1 and model = $2', [
    project,
    model,
  ]);
  return rowCount > 0;
}
