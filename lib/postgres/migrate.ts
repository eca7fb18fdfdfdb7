import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from './database.ts';

/** Any 64-bit constant of ours: all processes that start together queue on it, one migrates. */
const MIGRATION_LOCK = 7_461_746_121;

export interface MigrationResult {
  /** Names applied by this call, in order. */
  readonly applied: readonly string[];
  readonly version: number;
}

/**
 * Applies the migrations that the database lacks, in the order of their numbers, all in one transaction: all of them or none.
 *
 * Safe when many processes start together (an advisory lock). Throws when a recorded migration differs from the file
 * (it was edited after release) or when the database is newer than this code: an old binary must not write to it.
 */
export async function migrate(
  database: Database,
  folder = join(import.meta.dirname, 'migrations'),
): Promise<MigrationResult> {
  const files = await readMigrations(folder);
  return database.transaction(async (tx) => {
    await tx.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    await tx.query(
      `create table if not exists schema_migrations (
         version int primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`,
    );
    const { rows } = await tx.query<{ version: number; name: string; sha256: string }>(
      'select version, name, sha256 from schema_migrations order by version',
    );
    for (const row of rows) {
      const file = files.find((f) => f.version === row.version);
      if (file === undefined)
        throw new Error(
          `the database has migration ${row.name}, which this release does not know: it is newer than the code`,
        );
      if (file.sha256 !== row.sha256) throw new Error(`migration ${row.name} was changed after it was applied`);
    }
    const applied: string[] = [];
    for (const file of files.filter((f) => !rows.some((row) => row.version === f.version))) {
      await tx.query(file.sql);
      await tx.query('insert into schema_migrations (version, name, sha256) values ($1, $2, $3)', [
        file.version,
        file.name,
        file.sha256,
      ]);
      applied.push(file.name);
    }
    return { applied, version: files.at(-1)?.version ?? 0 };
  });
}

interface MigrationFile {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly sha256: string;
}

async function readMigrations(folder: string): Promise<MigrationFile[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  const files: MigrationFile[] = [];
  for (const name of names) {
    const sql = await readFile(join(folder, name), 'utf8');
    const version = Number(/^(\d{4})_/.exec(name)?.[1]);
    if (!Number.isInteger(version) || version !== files.length + 1)
      throw new Error(`migration ${name}: numbers must be 0001, 0002, ... without gaps`);
    files.push({ version, name, sql, sha256: createHash('sha256').update(sql).digest('hex') });
  }
  return files;
}
