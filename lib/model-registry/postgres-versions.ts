import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import type { NamedStatement, Queryable } from '#lib/postgres/database.ts';
import type { ModelVersion, NewModelVersion, Stage } from './port.ts';
import { isVersionNumber } from './validation.ts';

/** A row of `registry_versions` as selected by `VERSION_COLUMNS`. */
export interface VersionRow {
  readonly project: string;
  readonly name: string;
  readonly version: number;
  readonly stage: Stage;
  readonly manifest_key: string;
  readonly job_id: string;
  readonly run_id: string;
  readonly dataset_name: string;
  readonly dataset_version: string;
  readonly dataset_digest: string;
  readonly config_digest: string;
  readonly code_commit: string;
  readonly base_model_digest: string;
  readonly evaluation_report_digest: string;
  readonly manifest_digest: string;
  readonly reward_model_digest: string | null;
  readonly safety_report_digest: string | null;
  readonly tags: Record<string, string>;
  readonly created_at: Date;
}

export const VERSION_COLUMNS = `project, name, version, stage, manifest_key, job_id, run_id, dataset_name, dataset_version,
  dataset_digest, config_digest, code_commit, base_model_digest, evaluation_report_digest, manifest_digest, reward_model_digest, safety_report_digest,
  tags, created_at`;

export const versionOf = (row: VersionRow): ModelVersion => ({
  project: row.project,
  name: row.name,
  version: row.version,
  stage: row.stage,
  manifestKey: row.manifest_key,
  lineage: {
    jobId: row.job_id,
    runId: row.run_id,
    datasetName: row.dataset_name,
    datasetVersion: row.dataset_version,
    datasetDigest: row.dataset_digest,
    configDigest: row.config_digest,
    codeCommit: row.code_commit,
    baseModelDigest: row.base_model_digest,
    evaluationReportDigest: row.evaluation_report_digest,
    manifestDigest: row.manifest_digest,
    ...(row.reward_model_digest === null ? {} : { rewardModelDigest: row.reward_model_digest }),
    ...(row.safety_report_digest === null ? {} : { safetyReportDigest: row.safety_report_digest }),
  },
  tags: row.tags,
  createdAt: row.created_at.toISOString(),
});

const FIND_VERSION: NamedStatement = {
  name: 'registry-find-version',
  text: `select ${VERSION_COLUMNS} from registry_versions where project = $1 and name = $2 and version = $3`,
};

const FIND_BY_SOURCE: NamedStatement = {
  name: 'registry-find-by-source',
  text: `select ${VERSION_COLUMNS} from registry_versions where project = $1 and name = $2 and source_key = $3`,
};

// The update is a no-op that takes the row lock; `do nothing` would neither lock nor return.
const LOCK_OR_CREATE: NamedStatement = {
  name: 'registry-lock-or-create-model',
  text: `insert into registry_models (project, name) values ($1, $2)
         on conflict (project, name) do update set last_version = registry_models.last_version
         returning last_version`,
};

const LOCK_EXISTING: NamedStatement = {
  name: 'registry-lock-model',
  text: 'select last_version from registry_models where project = $1 and name = $2 for update',
};

const INSERT_VERSION: NamedStatement = {
  name: 'registry-insert-version',
  text: `with counted as (update registry_models set last_version = $3 where project = $1 and name = $2)
         insert into registry_versions
           (project, name, version, source_key, manifest_key, tags, job_id, run_id, dataset_name, dataset_version,
            dataset_digest, config_digest, code_commit, base_model_digest, evaluation_report_digest, manifest_digest,
            reward_model_digest, safety_report_digest)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         returning ${VERSION_COLUMNS}`,
};

export async function findVersion(
  db: Queryable,
  project: string,
  name: string,
  version: number,
): Promise<ModelVersion | null> {
  if (!isVersionNumber(version)) return null;
  const [row] = (await db.query<VersionRow>(FIND_VERSION, [project, name, version])).rows;
  return row === undefined ? null : versionOf(row);
}

export async function findVersionBySource(
  db: Queryable,
  { project, name, sourceKey }: NewModelVersion,
): Promise<ModelVersion | null> {
  const [row] = (await db.query<VersionRow>(FIND_BY_SOURCE, [project, name, sourceKey])).rows;
  return row === undefined ? null : versionOf(row);
}

/**
 * Locks a model until the transaction ends and answers its last version number. Creates the model when absent, unless `existing`
 * is asked for: then `NotFound`.
 */
export async function lockModel(
  tx: Queryable,
  project: string,
  name: string,
  which: 'any' | 'existing' = 'any',
): Promise<number> {
  const statement = which === 'existing' ? LOCK_EXISTING : LOCK_OR_CREATE;
  const [row] = (await tx.query<{ last_version: number }>(statement, [project, name])).rows;
  if (row === undefined)
    throw new TrainyardError('NotFound', `project ${project} has no model ${name}`, { details: { project, name } });
  return row.last_version;
}

/** Adds a version in stage `dev`. The model must be locked by this transaction. */
export async function insertVersion(tx: Queryable, created: NewModelVersion, version: number): Promise<ModelVersion> {
  const { project, name, sourceKey, manifestKey, lineage, tags } = created;
  const { rows } = await tx.query<VersionRow>(INSERT_VERSION, [
    project,
    name,
    version,
    sourceKey,
    manifestKey,
    JSON.stringify(tags),
    lineage.jobId,
    lineage.runId,
    lineage.datasetName,
    lineage.datasetVersion,
    lineage.datasetDigest,
    lineage.configDigest,
    lineage.codeCommit,
    lineage.baseModelDigest,
    lineage.evaluationReportDigest,
    lineage.manifestDigest,
    lineage.rewardModelDigest ?? null,
    lineage.safetyReportDigest ?? null,
  ]);
  const [row] = rows;
  invariant(row !== undefined, 'insert ... returning gave no row');
  return versionOf(row);
}
