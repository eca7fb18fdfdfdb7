import type { NamedStatement, Queryable } from '#lib/postgres/database.ts';
import type { ModelPlace } from './mlflow-names.ts';
import type { NewModelVersion, Stage } from './port.ts';

/** What our tables know of a version: its number, key and stage, and where it is in MLflow. */
export interface VersionLink {
  readonly version: number;
  readonly sourceKey: string;
  readonly stage: Stage;
  /** Null until the version exists there. */
  readonly mlflowVersion: number | null;
  readonly mlflowStage: Stage | null;
  /** What to create while it does not exist. */
  readonly request: NewModelVersion | null;
}

const COLUMNS = `version, source_key as "sourceKey", stage, mlflow_version as "mlflowVersion", mlflow_stage as "mlflowStage", request`;
const OF_MODEL = 'namespace = $1 and project = $2 and name = $3';
const place = ({ namespace, project, name }: ModelPlace): string[] => [namespace, project, name];

const statement = (name: string, text: string): NamedStatement => ({ name: `registry-mlflow-${name}`, text });

const BY_SOURCE = statement(
  'by-source',
  `select ${COLUMNS} from registry_mlflow_versions where ${OF_MODEL} and source_key = $4`,
);
const BY_NUMBER = statement(
  'by-number',
  `select ${COLUMNS} from registry_mlflow_versions where ${OF_MODEL} and version = $4`,
);
const NEWEST = statement(
  'newest',
  `select ${COLUMNS} from registry_mlflow_versions where ${OF_MODEL} and mlflow_version is not null
     and ($4::text is null or stage = $4) order by version desc limit 1`,
);
const PAGE = statement(
  'page',
  `select ${COLUMNS} from registry_mlflow_versions where ${OF_MODEL} and mlflow_version is not null
     and ($4::int is null or version < $4) order by version desc limit $5`,
);
const UNFINISHED = statement(
  'unfinished',
  `select ${COLUMNS} from registry_mlflow_versions where ${OF_MODEL} and stage is distinct from mlflow_stage order by version`,
);
const ALIASES = statement(
  'aliases',
  `select distinct on (stage) stage, mlflow_version as "mlflowVersion" from registry_mlflow_versions
     where ${OF_MODEL} and mlflow_version is not null order by stage, version desc`,
);
const MODELS = statement(
  'models',
  `select name, max(version) as "latestVersion", count(*) as versions from registry_mlflow_versions
     where namespace = $1 and project = $2 and mlflow_version is not null and ($3::text is null or name > $3::text collate "C")
     group by name order by name limit $4`,
);
const IN_LINE = statement('in-line', `select in_line as "inLine" from registry_mlflow_models where ${OF_MODEL}`);
const ADD_MODEL = statement(
  'add-model',
  'insert into registry_mlflow_models (namespace, project, name) values ($1, $2, $3) on conflict do nothing',
);
const SET_IN_LINE = statement('set-in-line', `update registry_mlflow_models set in_line = $4 where ${OF_MODEL}`);
const ADD_VERSION = statement(
  'add-version',
  `insert into registry_mlflow_versions (namespace, project, name, version, source_key, request)
     select $1, $2, $3, coalesce(max(version), 0) + 1, $4, $5::jsonb from registry_mlflow_versions where ${OF_MODEL}`,
);
const ADOPT_VERSION = statement(
  'adopt-version',
  `insert into registry_mlflow_versions (namespace, project, name, version, source_key, stage, mlflow_version, mlflow_stage)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`,
);
const DROP_REQUEST = statement(
  'drop-request',
  `delete from registry_mlflow_versions where ${OF_MODEL} and version = $4 and mlflow_version is null`,
);
const SET_CREATED = statement(
  'set-created',
  `update registry_mlflow_versions set mlflow_version = $5, mlflow_stage = $6, request = null where ${OF_MODEL} and version = $4`,
);
const SET_SHOWN_STAGE = statement(
  'set-shown-stage',
  `update registry_mlflow_versions set mlflow_stage = $5 where ${OF_MODEL} and version = $4`,
);
const ARCHIVE_PROD = statement(
  'archive-prod',
  `update registry_mlflow_versions set stage = 'archived' where ${OF_MODEL} and stage = 'prod' and version <> $4`,
);
const SET_STAGE = statement(
  'set-stage',
  `update registry_mlflow_versions set stage = $5 where ${OF_MODEL} and version = $4`,
);

const first = async (db: Queryable, query: NamedStatement, values: readonly unknown[]): Promise<VersionLink | null> =>
  (await db.query<VersionLink>(query, values)).rows[0] ?? null;

export const linkBySource = (db: Queryable, model: ModelPlace, sourceKey: string): Promise<VersionLink | null> =>
  first(db, BY_SOURCE, [...place(model), sourceKey]);

export const linkByNumber = (db: Queryable, model: ModelPlace, version: number): Promise<VersionLink | null> =>
  first(db, BY_NUMBER, [...place(model), version]);

/** The newest version that exists in MLflow, of one stage or of all. */
export const newestLink = (db: Queryable, model: ModelPlace, stage: Stage | null): Promise<VersionLink | null> =>
  first(db, NEWEST, [...place(model), stage]);

/** Versions that exist in MLflow, newest first. */
export const pageOfLinks = async (
  db: Queryable,
  model: ModelPlace,
  page: { limit: number; before?: number },
): Promise<VersionLink[]> =>
  (await db.query<VersionLink>(PAGE, [...place(model), page.before ?? null, page.limit])).rows;

/** Versions that MLflow does not show as they are meant, in the order in which they were made. */
export const unfinishedLinks = async (db: Queryable, model: ModelPlace): Promise<VersionLink[]> =>
  (await db.query<VersionLink>(UNFINISHED, place(model))).rows;

/** What the alias of each stage has to point to: its newest version. */
export const wantedAliases = async (db: Queryable, model: ModelPlace): Promise<Map<Stage, number>> => {
  const { rows } = await db.query<{ stage: Stage; mlflowVersion: number }>(ALIASES, place(model));
  return new Map(rows.map(({ stage, mlflowVersion }) => [stage, mlflowVersion]));
};

export const pageOfModels = async (
  db: Queryable,
  namespace: string,
  project: string,
  page: { limit: number; after?: string },
): Promise<{ name: string; latestVersion: number; versions: number }[]> => {
  type Row = { name: string; latestVersion: number; versions: number };
  return (await db.query<Row>(MODELS, [namespace, project, page.after ?? null, page.limit])).rows;
};

/** Null for a model that nobody ever made a version of. */
export const isInLine = async (db: Queryable, model: ModelPlace): Promise<boolean | null> =>
  (await db.query<{ inLine: boolean }>(IN_LINE, place(model))).rows[0]?.inLine ?? null;

export const addModel = async (tx: Queryable, model: ModelPlace): Promise<void> => {
  await tx.query(ADD_MODEL, place(model));
};

export const setInLine = async (tx: Queryable, model: ModelPlace, inLine: boolean): Promise<void> => {
  await tx.query(SET_IN_LINE, [...place(model), inLine]);
};

/** Takes the next number for a version that does not exist in MLflow yet. */
export const addVersion = async (tx: Queryable, model: ModelPlace, created: NewModelVersion): Promise<void> => {
  await setInLine(tx, model, false);
  await tx.query(ADD_VERSION, [...place(model), created.sourceKey, JSON.stringify(created)]);
};

/** Takes over a version that MLflow has and our tables do not. */
export const adoptVersion = async (
  tx: Queryable,
  model: ModelPlace,
  found: { version: number; sourceKey: string; stage: Stage; mlflowVersion: number; mlflowStage: Stage },
): Promise<void> => {
  const { version, sourceKey, stage, mlflowVersion, mlflowStage } = found;
  await tx.query(ADOPT_VERSION, [...place(model), version, sourceKey, stage, mlflowVersion, mlflowStage]);
};

/** Gives the number of a version back that MLflow will never take. Only for the newest one. */
export const dropRequest = async (tx: Queryable, model: ModelPlace, version: number): Promise<void> => {
  await tx.query(DROP_REQUEST, [...place(model), version]);
};

export const setCreated = async (
  tx: Queryable,
  model: ModelPlace,
  version: number,
  shown: { mlflowVersion: number; stage: Stage },
): Promise<void> => {
  await tx.query(SET_CREATED, [...place(model), version, shown.mlflowVersion, shown.stage]);
};

export const setShownStage = async (tx: Queryable, model: ModelPlace, version: number, stage: Stage): Promise<void> => {
  await tx.query(SET_SHOWN_STAGE, [...place(model), version, stage]);
};

/** MR-5: the former prod is archived in the same transaction. */
export const decideStage = async (tx: Queryable, model: ModelPlace, version: number, stage: Stage): Promise<void> => {
  if (stage === 'prod') await tx.query(ARCHIVE_PROD, [...place(model), version]);
  await tx.query(SET_STAGE, [...place(model), version, stage]);
  await setInLine(tx, model, false);
};
