import type { Database } from '#lib/postgres/database.ts';
import type { ReferenceProfile } from '#lib/statistics/reference-profile.ts';
import type { ReferenceSource } from '../app/learn-references.ts';
import type { VersionKey } from '../app/ports.ts';

/** Versions looked at in one turn at most; the others wait for the next one. */
const MAX_VERSIONS = 10;

/** References in the tables of `0013_drift.sql`. */
export class PostgresReferences implements ReferenceSource {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async unwatched(observations: number): Promise<VersionKey[]> {
    const { rows } = await this.#database.query<VersionKey>(UNWATCHED, [observations, MAX_VERSIONS]);
    return rows;
  }

  async oldestFeatures({ project, model, version }: VersionKey, limit: number): Promise<string[]> {
    const { rows } = await this.#database.query<{ features: string }>(OLDEST, [project, model, version, limit]);
    return rows.map(({ features }) => features);
  }

  async store({ project, model, version }: VersionKey, profile: ReferenceProfile, nowMs: number): Promise<boolean> {
    const { rowCount } = await this.#database.query(STORE, [project, model, version, JSON.stringify(profile), nowMs]);
    return rowCount > 0;
  }
}

const UNWATCHED = `
  select w.project, w.model, w.version from drift_windows w
  join retrain_policies p on p.project = w.project and p.model = w.model and p.enabled
  where (w.state -> 'counters' ->> 'unknownVersion')::bigint >= $1
    and not exists (
      select from model_references r where r.project = w.project and r.model = w.model and r.version = w.version)
  order by w.project, w.model, w.version limit $2`;

const OLDEST = `
  select features from observations where project = $1 and model = $2 and model_version = $3
  order by observed_at_ms, observation_id limit $4`;

const STORE = `
  insert into model_references (project, model, version, profile, performance, updated_at_ms) values ($1, $2, $3, $4, null, $5)
  on conflict do nothing`;
