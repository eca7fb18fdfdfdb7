import type { OutgoingMessage } from '#lib/bus/port.ts';
import { int4Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import type { ReferencePerformance } from '#lib/statistics/model-reference.ts';
import type { ReferenceProfile } from '#lib/statistics/reference-profile.ts';
import type { DriftStore, DriftTransaction, LoadedVersion, VersionKey, WatchHead } from '../app/ports.ts';
import type { StoredAnswer, StoredWatch, WatchState } from '../domain/model-watch.ts';
import { PostgresDriftTransaction } from './postgres-drift-transaction.ts';

export interface TransactionalPublisher {
  publishIn(tx: Queryable, messages: readonly OutgoingMessage[]): Promise<void>;
}

/** The tables of `0013_drift.sql`. */
export class PostgresDriftStore implements DriftStore {
  readonly #database: Database;
  readonly #bus: TransactionalPublisher;

  constructor(database: Database, bus: TransactionalPublisher) {
    this.#database = database;
    this.#bus = bus;
  }

  async heads(versions: readonly VersionKey[]): Promise<WatchHead[]> {
    const { rows } = await this.#database.query<HeadRecord>(HEADS, keyColumns(versions));
    return rows.map(headOf);
  }

  async load(versions: readonly VersionKey[]): Promise<LoadedVersion[]> {
    const { rows } = await this.#database.query<LoadedRecord>(LOAD, keyColumns(versions));
    return rows.map((row) => ({
      ...headOf(row),
      stored: storedOf(row),
      reference:
        row.profile === null || row.reference_revision === null
          ? null
          : { profile: row.profile, performance: row.performance, revision: row.reference_revision },
      policy: row.policy === null ? null : { policy: row.policy, enabled: row.enabled === true },
    }));
  }

  async known(
    { project, model, version }: VersionKey,
    observationIds: readonly string[],
  ): Promise<Map<string, StoredAnswer>> {
    const { rows } = await this.#database.query<{ observation_id: string; prediction: string; label: string | null }>(
      KNOWN,
      [project, model, version, textArray(observationIds)],
    );
    return new Map(rows.map(({ observation_id, prediction, label }) => [observation_id, { prediction, label }]));
  }

  async due(nowMs: number, limit: number): Promise<(VersionKey & { readonly dueAtMs: number })[]> {
    const { rows } = await this.#database.query<VersionKey & { due_at_ms: number }>(DUE, [nowMs, limit]);
    return rows.map(({ project, model, version, due_at_ms }) => ({ project, model, version, dueAtMs: due_at_ms }));
  }

  async transaction<T>(work: (tx: DriftTransaction) => Promise<T>): Promise<T> {
    return this.#database.transaction((tx) => work(new PostgresDriftTransaction(tx, this.#bus)));
  }
}

interface HeadRecord {
  project: string;
  model: string;
  version: number;
  watch_revision: number | null;
  reference_revision: number | null;
  policy_revision: number | null;
}

interface LoadedRecord extends HeadRecord {
  state: WatchState | null;
  sketches: string | null;
  stored_reference_revision: number | null;
  window_ms: number | null;
  profile: ReferenceProfile | null;
  performance: ReferencePerformance | null;
  policy: unknown;
  enabled: boolean | null;
}

const headOf = (row: HeadRecord): WatchHead => ({
  project: row.project,
  model: row.model,
  version: row.version,
  watchRevision: row.watch_revision,
  referenceRevision: row.reference_revision,
  policyRevision: row.policy_revision,
});

function storedOf(row: LoadedRecord): StoredWatch | null {
  const { state, sketches, stored_reference_revision: referenceRevision, window_ms: windowMs } = row;
  if (state === null || sketches === null || windowMs === null) return null;
  return { state, sketches: JSON.parse(sketches) as StoredWatch['sketches'], referenceRevision, windowMs };
}

const keyColumns = (versions: readonly VersionKey[]): unknown[] => [
  textArray(versions.map(({ project }) => project)),
  textArray(versions.map(({ model }) => model)),
  int4Array(versions.map(({ version }) => version)),
];

const FROM_KEYS = `from unnest($1::text[], $2::text[], $3::int[]) with ordinality as k(project, model, version, n)
  left join drift_windows w on w.project = k.project and w.model = k.model and w.version = k.version
  left join model_references r on r.project = k.project and r.model = k.model and r.version = k.version
  left join retrain_policies p on p.project = k.project and p.model = k.model
  order by k.n`;

const HEAD_COLUMNS =
  'k.project, k.model, k.version, w.revision as watch_revision, r.revision as reference_revision, p.revision as policy_revision';

const HEADS = { name: 'drift-heads', text: `select ${HEAD_COLUMNS} ${FROM_KEYS}` };

const LOAD = {
  name: 'drift-load',
  text: `select ${HEAD_COLUMNS}, w.state, w.sketches, w.reference_revision as stored_reference_revision, w.window_ms,
  r.profile, r.performance, p.policy, p.enabled ${FROM_KEYS}`,
};

const KNOWN = {
  name: 'drift-known',
  // Lateral, so that the id is part of the look-up: as a join, the plan made on the empty table read all rows of the version for each id (425 ms a batch).
  text: `select o.observation_id, o.prediction, o.label from unnest($4::text[]) as k(id) cross join lateral (
  select observation_id, prediction, label from observations
  where project = $1 and model = $2 and model_version = $3 and observation_id = k.id limit 1) o`,
};

const DUE = {
  name: 'drift-due',
  text: 'select project, model, version, due_at_ms from drift_windows where due_at_ms <= $1 order by due_at_ms limit $2',
};
