import type { OutgoingMessage } from '#lib/bus/port.ts';
import { FINAL_STATUSES } from '#lib/contracts/jobs.ts';
import type { SignalOutcome, SignalSource } from '#lib/contracts/retrain-policy.ts';
import { int4Array, int8Array, jsonbArray, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Queryable } from '#lib/postgres/database.ts';
import {
  type DriftTransaction,
  type DueSchedule,
  type EndedSignal,
  type ModelKey,
  modelId,
  type SignalRow,
  StaleWatchError,
  type StoredPolicy,
  type VersionKey,
  versionId,
  type WatchCommit,
} from '../app/ports.ts';
import { NEVER_TRAINED, type RetrainState, type Suppression } from '../domain/drift-decider.ts';
import type { Observation } from '../domain/observation.ts';
import type { TransactionalPublisher } from './postgres-drift-store.ts';

/** One transaction over the tables of `0013_drift.sql`. Lock order: requests and schedules, states, watches. */
export class PostgresDriftTransaction implements DriftTransaction {
  readonly #tx: Queryable;
  readonly #bus: TransactionalPublisher;

  constructor(tx: Queryable, bus: TransactionalPublisher) {
    this.#tx = tx;
    this.#bus = bus;
  }

  async lockStates(models: readonly ModelKey[]): Promise<Map<string, RetrainState>> {
    const sorted = [...models].sort((a, b) => (modelId(a) < modelId(b) ? -1 : 1));
    const keys = modelColumns(sorted);
    // The row must be there to be locked: two monitors may decide about a new model at the same time.
    await this.#tx.query(
      `insert into drift_states (project, model, state) select k.project, k.model, $3::jsonb
       from unnest($1::text[], $2::text[]) with ordinality as k(project, model, n) order by k.n on conflict do nothing`,
      [...keys, JSON.stringify(NEVER_TRAINED)],
    );
    const states = new Map<string, RetrainState>();
    for (const { project, model } of sorted) {
      const { rows } = await this.#tx.query<{ state: RetrainState }>(
        'select state from drift_states where project = $1 and model = $2 for update',
        [project, model],
      );
      states.set(modelId({ project, model }), rows[0]?.state ?? NEVER_TRAINED);
    }
    return states;
  }

  async saveStates(states: readonly (ModelKey & { readonly state: RetrainState })[]): Promise<void> {
    if (states.length === 0) return;
    await this.#tx.query(
      `update drift_states s set state = k.state
       from unnest($1::text[], $2::text[], $3::jsonb[]) as k(project, model, state)
       where s.project = k.project and s.model = k.model`,
      [...modelColumns(states), jsonbArray(states.map(({ state }) => JSON.stringify(state)))],
    );
  }

  async policies(models: readonly ModelKey[]): Promise<Map<string, StoredPolicy>> {
    const { rows } = await this.#tx.query<ModelKey & StoredPolicy>(
      `select p.project, p.model, p.policy, p.enabled from unnest($1::text[], $2::text[]) as k(project, model)
       join retrain_policies p on p.project = k.project and p.model = k.model`,
      modelColumns(models),
    );
    return new Map(rows.map((row) => [modelId(row), row]));
  }

  async saveObservations(rows: readonly Observation[], nowMs: number): Promise<void> {
    if (rows.length > 0) await this.#tx.query(INSERT_OBSERVATIONS, observationColumns(rows, nowMs));
  }

  async saveLabels(
    rows: readonly (VersionKey & { readonly observationId: string; readonly label: string })[],
  ): Promise<void> {
    if (rows.length === 0) return;
    await this.#tx.query(LABEL_OBSERVATIONS, [
      ...versionColumns(rows),
      textArray(rows.map(({ observationId }) => observationId)),
      textArray(rows.map(({ label }) => label)),
    ]);
  }

  async saveWatches(watches: readonly WatchCommit[], nowMs: number): Promise<void> {
    const stale: WatchCommit[] = [];
    for (const watch of [...watches].sort((a, b) => (versionId(a) < versionId(b) ? -1 : 1))) {
      const { project, model, version, formerRevision, revision, stored, dueAtMs } = watch;
      const { rowCount } = await this.#tx.query(formerRevision === null ? INSERT_WATCH : UPDATE_WATCH, [
        project,
        model,
        version,
        revision,
        JSON.stringify(stored.state),
        JSON.stringify(stored.sketches),
        stored.referenceRevision,
        stored.windowMs,
        dueAtMs,
        nowMs,
        ...(formerRevision === null ? [] : [formerRevision]),
      ]);
      if (rowCount === 0) stale.push(watch);
    }
    if (stale.length > 0) throw new StaleWatchError(stale);
  }

  async saveSignals(rows: readonly SignalRow[]): Promise<void> {
    if (rows.length > 0) await this.#tx.query(SAVE_SIGNALS, signalColumns(rows));
  }

  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    if (messages.length > 0) await this.#bus.publishIn(this.#tx, messages);
  }

  async requestedSignals(limit: number): Promise<SignalRow[]> {
    const { rows } = await this.#tx.query<SignalRecord>(
      `select ${SIGNAL_COLUMNS} from drift_signals where outcome = 'requested' order by seq limit $1 for update skip locked`,
      [limit],
    );
    return rows.map(signalRow);
  }

  async endedSignals(limit: number): Promise<EndedSignal[]> {
    const { rows } = await this.#tx.query<ModelKey & { signal_id: string; number: number; refused: boolean }>(
      // By the idempotency key: a job is known by it from its first moment, while job_id is written after the submit.
      `select s.project, s.model, s.signal_id, s.number, s.refusal is not null and j.id is null as refused from drift_signals s
       left join jobs j on j.project = s.project and j.idempotency_key = s.signal_id
       where s.outcome = 'signalled' and s.ended_at_ms is null and (s.refusal is not null or j.status = any($1::text[]))
       order by s.seq limit $2 for update of s skip locked`,
      [textArray(FINAL_STATUSES), limit],
    );
    return rows.map(({ signal_id: signalId, ...row }) => ({ ...row, signalId }));
  }

  async markEnded(
    signals: readonly { readonly project: string; readonly signalId: string }[],
    nowMs: number,
  ): Promise<void> {
    await this.#tx.query(
      `update drift_signals s set ended_at_ms = $3 from unnest($1::text[], $2::text[]) as k(project, id)
       where s.project = k.project and s.signal_id = k.id`,
      [textArray(signals.map(({ project }) => project)), textArray(signals.map(({ signalId }) => signalId)), nowMs],
    );
  }

  async dueSchedules(nowMs: number, limit: number): Promise<DueSchedule[]> {
    const { rows } = await this.#tx.query<{
      project: string;
      model: string;
      cron: string;
      time_zone: string;
      missed_runs: DueSchedule['missedRuns'];
      next_fire_at_ms: number;
    }>(
      `select project, model, cron, time_zone, missed_runs, next_fire_at_ms from retrain_schedules
       where next_fire_at_ms <= $1 order by next_fire_at_ms limit $2 for update skip locked`,
      [nowMs, limit],
    );
    return rows.map((row) => ({
      project: row.project,
      model: row.model,
      cron: row.cron,
      timeZone: row.time_zone,
      missedRuns: row.missed_runs,
      fireAtMs: row.next_fire_at_ms,
    }));
  }

  async moveSchedule(
    { project, model }: ModelKey,
    nextFireAtMs: number | null,
    firedAtMs: number | null,
  ): Promise<void> {
    await this.#tx.query(
      `update retrain_schedules set next_fire_at_ms = $3, last_fired_at_ms = coalesce($4, last_fired_at_ms)
       where project = $1 and model = $2`,
      [project, model, nextFireAtMs, firedAtMs],
    );
  }
}

interface SignalRecord {
  project: string;
  signal_id: string;
  model: string;
  version: number | null;
  source: SignalSource;
  outcome: SignalOutcome;
  reason: Suppression | null;
  causes: string[];
  evidence: Record<string, unknown>;
  window_start_ms: number | null;
  window_end_ms: number | null;
  number: number | null;
  at_ms: number;
}

const SIGNAL_COLUMNS =
  'project, signal_id, model, version, source, outcome, reason, causes, evidence, window_start_ms, window_end_ms, number, at_ms';

const signalRow = (row: SignalRecord): SignalRow => ({
  project: row.project,
  signalId: row.signal_id,
  model: row.model,
  version: row.version,
  source: row.source,
  outcome: row.outcome,
  reason: row.reason,
  causes: row.causes,
  evidence: row.evidence,
  windowStartMs: row.window_start_ms,
  windowEndMs: row.window_end_ms,
  number: row.number,
  atMs: row.at_ms,
});

const modelColumns = (models: readonly ModelKey[]): unknown[] => [
  textArray(models.map(({ project }) => project)),
  textArray(models.map(({ model }) => model)),
];
const versionColumns = (versions: readonly VersionKey[]): unknown[] => [
  ...modelColumns(versions),
  int4Array(versions.map(({ version }) => version)),
];

const observationColumns = (rows: readonly Observation[], nowMs: number): unknown[] => [
  ...modelColumns(rows),
  int4Array(rows.map((row) => row.modelVersion)),
  textArray(rows.map((row) => row.observationId)),
  int8Array(rows.map((row) => row.observedAtMs)),
  textArray(rows.map((row) => row.featuresJson)),
  textArray(rows.map((row) => row.prediction)),
  rows.map((row) => row.score),
  textArray(rows.map((row) => row.label)),
  nowMs,
];

const INSERT_OBSERVATIONS = {
  name: 'drift-insert-observations',
  text: `insert into observations
           (project, model, model_version, observation_id, observed_at_ms, features, prediction, score, label, received_at_ms)
         select k.*, $10::bigint
         from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::float8[], $9::text[]) as k
         on conflict do nothing`,
};

const LABEL_OBSERVATIONS = {
  name: 'drift-label-observations',
  // Each row by its key first (see drift-known); a version has one writer, so the row stays where it was found.
  text: `update observations o set label = k.label
         from (select u.label, found.at from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[]) as u(project, model, version, id, label)
               cross join lateral (
                 select ctid as at from observations
                 where project = u.project and model = u.model and model_version = u.version and observation_id = u.id limit 1) found) k
         where o.ctid = k.at and o.label is null`,
};

const INSERT_WATCH = {
  name: 'drift-insert-watch',
  text: `insert into drift_windows
           (project, model, version, revision, state, sketches, reference_revision, window_ms, due_at_ms, updated_at_ms)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing`,
};

const UPDATE_WATCH = {
  name: 'drift-update-watch',
  text: `update drift_windows set revision = $4, state = $5, sketches = $6, reference_revision = $7, window_ms = $8, due_at_ms = $9,
           updated_at_ms = $10
         where project = $1 and model = $2 and version = $3 and revision = $11`,
};

const signalColumns = (rows: readonly SignalRow[]): unknown[] => [
  textArray(rows.map((row) => row.project)),
  textArray(rows.map((row) => row.signalId)),
  textArray(rows.map((row) => row.model)),
  int4Array(rows.map((row) => row.version)),
  textArray(rows.map((row) => row.source)),
  textArray(rows.map((row) => row.outcome)),
  textArray(rows.map((row) => row.reason)),
  jsonbArray(rows.map((row) => JSON.stringify(row.causes))),
  jsonbArray(rows.map((row) => JSON.stringify(row.evidence))),
  int8Array(rows.map((row) => row.windowStartMs)),
  int8Array(rows.map((row) => row.windowEndMs)),
  int4Array(rows.map((row) => row.number)),
  int8Array(rows.map((row) => row.atMs)),
];

const SAVE_SIGNALS = {
  name: 'drift-save-signals',
  text: `insert into drift_signals (${SIGNAL_COLUMNS})
         select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::jsonb[], $9::jsonb[],
                              $10::bigint[], $11::bigint[], $12::int[], $13::bigint[])
         on conflict (project, signal_id) do update set outcome = excluded.outcome, reason = excluded.reason, number = excluded.number
         where drift_signals.outcome = 'requested'`,
};
