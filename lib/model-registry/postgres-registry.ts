import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database, NamedStatement, Queryable } from '#lib/postgres/database.ts';
import { asRegistryFailure } from './postgres-failure.ts';
import {
  findVersion,
  findVersionBySource,
  insertVersion,
  lockModel,
  type VersionRow,
  versionOf,
  VERSION_COLUMNS,
} from './postgres-versions.ts';
import { logMetrics, readMetrics, readRun, upsertRun } from './postgres-runs.ts';
import {
  type MetricPoint,
  type ModelRegistry,
  type ModelVersion,
  type NewModelVersion,
  type RunRecord,
  type Stage,
  STAGES,
} from './port.ts';
import {
  checkMetrics,
  checkNewVersion,
  checkPageLimit,
  checkRun,
  checkStage,
  checkTags,
  isVersionNumber,
} from './validation.ts';

const LIST_MODELS: NamedStatement = {
  name: 'registry-list-models',
  text: `select name, last_version as "latestVersion", last_version as versions from registry_models
         where project = $1 and last_version > 0 and ($2::text is null or name > $2::text collate "C")
         order by name limit $3`,
};

const LIST_VERSIONS: NamedStatement = {
  name: 'registry-list-versions',
  text: `select ${VERSION_COLUMNS} from registry_versions
         where project = $1 and name = $2 and ($3::int is null or version < $3) order by version desc limit $4`,
};

const LATEST: NamedStatement = {
  name: 'registry-latest',
  text: `select ${VERSION_COLUMNS} from registry_versions where project = $1 and name = $2 order by version desc limit 1`,
};

const NEWEST_IN_STAGE: NamedStatement = {
  name: 'registry-newest-in-stage',
  text: `select ${VERSION_COLUMNS} from registry_versions where project = $1 and name = $2 and stage = $3
         order by version desc limit 1`,
};

const ARCHIVE_PROD: NamedStatement = {
  name: 'registry-archive-prod',
  text: `update registry_versions set stage = 'archived'
         where project = $1 and name = $2 and stage = 'prod' and version <> $3`,
};

const SET_STAGE: NamedStatement = {
  name: 'registry-set-stage',
  text: `update registry_versions set stage = $4 where project = $1 and name = $2 and version = $3
         returning ${VERSION_COLUMNS}`,
};

const SET_TAGS: NamedStatement = {
  name: 'registry-set-tags',
  text: `update registry_versions set tags = tags || $4::jsonb where project = $1 and name = $2 and version = $3
         returning ${VERSION_COLUMNS}`,
};

/**
 * The built-in model registry, in the platform's own database (migration 0002). Any number of processes may use it at once.
 *
 * What the port leaves open: `upsertRun` merges params and tags into those of an earlier call and replaces the artifact addresses;
 * a param that has another value already, or another job, is `StateConflict` and stores nothing (MLflow refuses it, too).
 * `setTags` merges. Metrics that are NaN or infinite are `ValidationFailed` (MLflow would give back other values).
 * A version, model or run that does not exist is `NotFound` where null cannot say it. The database down = `RegistryUnavailable`.
 */
export class PostgresModelRegistry implements ModelRegistry {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async upsertRun(run: RunRecord): Promise<void> {
    checkRun(run);
    await this.#transaction((tx) => upsertRun(tx, run));
  }

  async getRun(project: string, runId: string): Promise<RunRecord | null> {
    return this.#query((db) => readRun(db, project, runId));
  }

  async logMetrics(project: string, runId: string, points: readonly MetricPoint[]): Promise<void> {
    checkMetrics(points);
    await this.#transaction((tx) => logMetrics(tx, project, runId, points));
  }

  async metrics(project: string, runId: string): Promise<MetricPoint[]> {
    return this.#query((db) => readMetrics(db, project, runId));
  }

  async createVersion(version: NewModelVersion): Promise<ModelVersion> {
    checkNewVersion(version);
    // A retry is the usual second call: it is answered without a transaction.
    const known = await this.#query((db) => findVersionBySource(db, version));
    if (known !== null) return known;
    return this.#transaction(async (tx) => {
      const lastVersion = await lockModel(tx, version.project, version.name);
      // Looked up again under the lock: a racing creator may have committed in between (MR-1).
      return (await findVersionBySource(tx, version)) ?? insertVersion(tx, version, lastVersion + 1);
    });
  }

  async getVersion(project: string, name: string, version: number): Promise<ModelVersion | null> {
    return this.#query((db) => findVersion(db, project, name, version));
  }

  async resolve(project: string, name: string, alias: string): Promise<ModelVersion | null> {
    if (alias === 'latest') return this.#first(LATEST, [project, name]);
    if (!(STAGES as readonly string[]).includes(alias)) return null;
    return this.#first(NEWEST_IN_STAGE, [project, name, alias]);
  }

  async setStage(project: string, name: string, version: number, stage: Stage): Promise<ModelVersion> {
    checkStage(stage);
    return this.#transaction(async (tx) => {
      if (!isVersionNumber(version)) throw absent(project, name, version);
      // MR-5: the lock orders promotions of one model, so that the unique index never has to refuse one.
      await lockModel(tx, project, name, 'existing');
      if (stage === 'prod') await tx.query(ARCHIVE_PROD, [project, name, version]);
      return changed(await tx.query<VersionRow>(SET_STAGE, [project, name, version, stage]), project, name, version);
    });
  }

  async setTags(
    project: string,
    name: string,
    version: number,
    tags: Readonly<Record<string, string>>,
  ): Promise<ModelVersion> {
    checkTags(tags);
    if (!isVersionNumber(version)) throw absent(project, name, version);
    return this.#query(async (db) =>
      changed(
        await db.query<VersionRow>(SET_TAGS, [project, name, version, JSON.stringify(tags)]),
        project,
        name,
        version,
      ),
    );
  }

  async listModels(
    project: string,
    page: { limit: number; after?: string },
  ): Promise<{ name: string; latestVersion: number; versions: number }[]> {
    checkPageLimit(page.limit);
    type Row = { name: string; latestVersion: number; versions: number };
    return this.#query(
      async (db) => (await db.query<Row>(LIST_MODELS, [project, page.after ?? null, page.limit])).rows,
    );
  }

  async listVersions(project: string, name: string, page: { limit: number; before?: number }): Promise<ModelVersion[]> {
    checkPageLimit(page.limit);
    if (page.before !== undefined && !isVersionNumber(page.before)) return [];
    return this.#query(async (db) => {
      const { rows } = await db.query<VersionRow>(LIST_VERSIONS, [project, name, page.before ?? null, page.limit]);
      return rows.map(versionOf);
    });
  }

  async check(): Promise<void> {
    await this.#query((db) => db.query('select 1 from registry_models limit 1'));
  }

  async #first(statement: NamedStatement, values: readonly unknown[]): Promise<ModelVersion | null> {
    return this.#query(async (db) => {
      const [row] = (await db.query<VersionRow>(statement, values)).rows;
      return row === undefined ? null : versionOf(row);
    });
  }

  async #query<T>(work: (db: Queryable) => Promise<T>): Promise<T> {
    try {
      return await work(this.#database);
    } catch (error) {
      throw asRegistryFailure(error);
    }
  }

  async #transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return this.#query(() => this.#database.transaction(work));
  }
}

/** The row that an update gave back; `NotFound` (and so a rollback) when there was none. */
function changed(result: { rows: VersionRow[] }, project: string, name: string, version: number): ModelVersion {
  const [row] = result.rows;
  if (row === undefined) throw absent(project, name, version);
  return versionOf(row);
}

const absent = (project: string, name: string, version: number): TrainyardError =>
  new TrainyardError('NotFound', `model ${name} of project ${project} has no version ${version}`, {
    details: { project, name, version },
  });
