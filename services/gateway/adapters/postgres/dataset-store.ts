import type { Database, Queryable } from '#lib/postgres/database.ts';
import type { DatasetStore, DatasetVersion } from '../../app/ports.ts';

interface DatasetRecord {
  project: string;
  name: string;
  version: number;
  format: DatasetVersion['format'];
  object_key: string;
  sha256: string;
  bytes: number;
  created_at: Date;
}

const COLUMNS = 'project, name, version, format, object_key, sha256, bytes, created_at';

const datasetRow = (row: DatasetRecord): DatasetVersion => ({
  project: row.project,
  name: row.name,
  version: row.version,
  format: row.format,
  objectKey: row.object_key,
  sha256: row.sha256,
  bytes: row.bytes,
  createdAt: row.created_at,
});

export class PostgresDatasetStore implements DatasetStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async projectExists(project: string): Promise<boolean> {
    const { rowCount } = await this.#database.query('select 1 from projects where id = $1', [project]);
    return rowCount > 0;
  }

  addVersion(version: Parameters<DatasetStore['addVersion']>[0]): Promise<{ row: DatasetVersion; created: boolean }> {
    const { project, name, format, objectKey, sha256, bytes } = version;
    return this.#database.transaction(async (tx) => {
      // One writer per dataset: numbers have no gaps, and the same bytes are seen by whoever comes second.
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`dataset:${project}/${name}`]);
      const same = await tx.query<DatasetRecord>(
        `select ${COLUMNS} from datasets where project = $1 and name = $2 and sha256 = $3 and format = $4`,
        [project, name, sha256, format],
      );
      if (same.rows[0] !== undefined) return { row: datasetRow(same.rows[0]), created: false };
      const added = await tx.query<DatasetRecord>(
        `insert into datasets (project, name, version, format, object_key, sha256, bytes)
         select $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6 from datasets where project = $1 and name = $2
         returning ${COLUMNS}`,
        [project, name, format, objectKey, sha256, bytes],
      );
      const [row] = added.rows;
      if (row === undefined) throw new Error('insert returned no row');
      return { row: datasetRow(row), created: true };
    });
  }
}

/** The newest version of each dataset, by name. */
export async function listDatasets(
  database: Queryable,
  project: string,
  page: { readonly limit: number; readonly after: string | null },
): Promise<{ items: DatasetVersion[]; next: string | null }> {
  const { rows } = await database.query<DatasetRecord>(
    `select distinct on (name) ${COLUMNS} from datasets where project = $1 and name > $2 order by name, version desc limit $3`,
    [project, page.after ?? '', page.limit + 1],
  );
  const items = rows.slice(0, page.limit).map(datasetRow);
  return { items, next: rows.length > page.limit ? (items.at(-1)?.name ?? null) : null };
}

/** Newest first. */
export async function listDatasetVersions(
  database: Queryable,
  project: string,
  name: string,
  page: { readonly limit: number; readonly before: number | null },
): Promise<{ items: DatasetVersion[]; next: number | null }> {
  const { rows } = await database.query<DatasetRecord>(
    `select ${COLUMNS} from datasets where project = $1 and name = $2 and ($3::int is null or version < $3)
     order by version desc limit $4`,
    [project, name, page.before, page.limit + 1],
  );
  const items = rows.slice(0, page.limit).map(datasetRow);
  return { items, next: rows.length > page.limit ? (items.at(-1)?.version ?? null) : null };
}
