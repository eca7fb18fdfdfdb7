import { textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { KeyRecord, KeyStore, KnownKey } from '../../app/ports.ts';
import type { Principal, Role } from '../../domain/access.ts';

/** Serialises first starts; any constant of ours. */
const ADMIN_KEY_LOCK = 7_461_746_130;

interface KeyRow {
  id: string;
  project: string | null;
  role: Role;
  name: string;
  created_at: Date;
  revoked_at: Date | null;
}

const COLUMNS = 'id, project, role, name, created_at, revoked_at';

const keyRecord = (row: KeyRow): KeyRecord => ({
  id: row.id,
  project: row.project,
  role: row.role,
  name: row.name,
  createdAt: row.created_at,
  revokedAt: row.revoked_at,
});

export class PostgresKeyStore implements KeyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async findByHash(hash: Buffer): Promise<Principal | null> {
    const { rows } = await this.#database.query<KeyRow>(
      { name: 'gateway_key', text: `select ${COLUMNS} from api_keys where key_hash = $1 and revoked_at is null` },
      [hash],
    );
    const [row] = rows;
    return row === undefined ? null : { keyId: row.id, project: row.project, role: row.role };
  }

  async known(project: string, ids: readonly string[]): Promise<readonly KnownKey[]> {
    const { rows } = await this.#database.query<KnownKey>(
      `select id, role, revoked_at is not null as revoked from api_keys
       where id = any ($2::text[]) and (project = $1 or project is null)`,
      [project, textArray(ids)],
    );
    return rows;
  }

  async insert(key: Parameters<KeyStore['insert']>[0]): Promise<KeyRecord> {
    const { rows } = await this.#database.query<KeyRow>(
      `insert into api_keys (id, project, role, name, key_hash) values ($1, $2, $3, $4, $5) returning ${COLUMNS}`,
      [key.id, key.project, key.role, key.name, key.hash],
    );
    const [row] = rows;
    if (row === undefined) throw new Error('insert returned no row');
    return keyRecord(row);
  }

  ensureAdmin(make: () => Promise<{ id: string; hash: Buffer }>): Promise<boolean> {
    return this.#database.transaction(async (tx) => {
      await tx.query('select pg_advisory_xact_lock($1)', [ADMIN_KEY_LOCK]);
      const { rowCount } = await tx.query(
        `select 1 from api_keys where project is null and role = 'admin' and revoked_at is null limit 1`,
      );
      if (rowCount > 0) return false;
      const { id, hash } = await make();
      await tx.query(
        `insert into api_keys (id, project, role, name, key_hash) values ($1, null, 'admin', 'platform admin', $2)`,
        [id, hash],
      );
      return true;
    });
  }

  /** By creation; revoked ones included. */
  async list(project: string): Promise<KeyRecord[]> {
    const { rows } = await this.#database.query<KeyRow>(
      `select ${COLUMNS} from api_keys where project = $1 order by created_at, id limit 1000`,
      [project],
    );
    return rows.map(keyRecord);
  }

  /** False when the project has no such key. Revoking twice is fine. */
  async revoke(project: string, id: string): Promise<boolean> {
    const { rowCount } = await this.#database.query(
      'update api_keys set revoked_at = coalesce(revoked_at, now()) where project = $1 and id = $2',
      [project, id],
    );
    return rowCount > 0;
  }
}
