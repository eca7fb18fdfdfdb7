import type { Stage } from '#lib/model-registry/port.ts';
import { type Database, type NamedStatement, type Queryable, sqlState } from '#lib/postgres/database.ts';
import type { Promotion, PromotionLedger, PromotionRequest, Rollback, RollbackRequest } from './port.ts';

const COLUMNS = `project, model, seq, version, stage, kind, former_version as "formerVersion", job_id as "jobId", requested_by as "requestedBy",
  reason, at_ms as "atMs", synced_at_ms as "syncedAtMs"`;

const APPEND: NamedStatement = {
  name: 'promotion-append',
  text: `select promotion_append(array[$1::text], array[$2::text], array[$3::int], array[$4::text], array[$5::text], array[$6::text],
           array[$7::text], array[$8::bigint])`,
};

const LAST: NamedStatement = {
  name: 'promotion-last',
  text: `select ${COLUMNS} from promotions where project = $1 and model = $2 order by seq desc limit 1`,
};

const LOCK: NamedStatement = { name: 'promotion-lock', text: 'select (promotion_lock($1, $2)).last_seq as "lastSeq"' };

const ROLLBACK: NamedStatement = {
  name: 'promotion-rollback',
  text: `select ${COLUMNS} from promotion_rollback($1, $2, $3, $4, $5::bigint, $6::int)`,
};

const HISTORY: NamedStatement = {
  name: 'promotion-history',
  text: `select ${COLUMNS} from promotions where project = $1 and model = $2 and ($3::int is null or seq < $3) order by seq desc limit $4`,
};

const STAGES: NamedStatement = {
  name: 'promotion-stages',
  text: 'select version, stage from model_stages where project = $1 and model = $2',
};

/** Only the oldest open row of a model is a candidate: whoever skips it because another process holds it finds none of that model. */
const NEXT: NamedStatement = {
  name: 'promotion-next',
  text: `select ${COLUMNS} from promotions p
         where synced_at_ms is null and project || '/' || model <> all ($1::text[]) and not exists (
           select 1 from promotions earlier
           where earlier.project = p.project and earlier.model = p.model and earlier.seq < p.seq and earlier.synced_at_ms is null)
         order by at_ms limit 1 for update skip locked`,
};

const SYNCED: NamedStatement = {
  name: 'promotion-synced',
  text: 'update promotions set synced_at_ms = $4 where project = $1 and model = $2 and seq = $3',
};

/** A call of the registry may take longer than a process may be idle inside a transaction; what it holds meanwhile is one row that nobody else waits for. */
const PUSH_TIMEOUT = `set local idle_in_transaction_session_timeout = '120s'`;

/** Of the functions of migration 0012. */
const REFUSALS: Readonly<Record<string, 'NothingBefore' | 'NotInProd'>> = {
  TY010: 'NothingBefore',
  TY011: 'NotInProd',
};

/** The ledger in the platform's database (migration 0012). Any number of processes may use it at once. */
export class PostgresPromotionLedger implements PromotionLedger {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async promote(request: PromotionRequest): Promise<Promotion | null> {
    const { project, model, version, stage, jobId, requestedBy, reason, atMs } = request;
    return this.#database.transaction(async (tx) => {
      // Held by now, so that the newest row afterwards is ours or was there before.
      const { lastSeq } = (await tx.query<{ lastSeq: number }>(LOCK, [project, model])).rows[0] ?? { lastSeq: 0 };
      await tx.query(APPEND, [project, model, version, stage, jobId, requestedBy, reason, atMs]);
      const newest = await first(tx, LAST, [project, model]);
      return newest !== null && newest.seq > lastSeq ? newest : null;
    });
  }

  async rollback({ project, model, fromVersion, requestedBy, reason, atMs }: RollbackRequest): Promise<Rollback> {
    try {
      const values = [project, model, requestedBy, reason, atMs, fromVersion ?? null];
      const { rows } = await this.#database.query<Promotion>(ROLLBACK, values);
      const [promotion] = rows;
      return promotion === undefined ? { ok: false, reason: 'NothingBefore' } : { ok: true, promotion };
    } catch (error) {
      const refusal = REFUSALS[sqlState(error) ?? ''];
      if (refusal === undefined) throw error;
      return { ok: false, reason: refusal };
    }
  }

  async history(project: string, model: string, page: { limit: number; before?: number }): Promise<Promotion[]> {
    const values = [project, model, page.before ?? null, page.limit];
    return (await this.#database.query<Promotion>(HISTORY, values)).rows;
  }

  async stages(project: string, model: string): Promise<ReadonlyMap<number, Stage>> {
    const { rows } = await this.#database.query<{ version: number; stage: Stage }>(STAGES, [project, model]);
    return new Map(rows.map(({ version, stage }) => [version, stage]));
  }

  async pushNext(
    push: (promotion: Promotion) => Promise<void>,
    nowMs: number,
    skipping: readonly string[],
  ): Promise<boolean> {
    return this.#database.transaction(async (tx) => {
      await tx.query(PUSH_TIMEOUT);
      const next = await first(tx, NEXT, [skipping]);
      if (next === null) return false;
      await push(next);
      await tx.query(SYNCED, [next.project, next.model, next.seq, nowMs]);
      return true;
    });
  }
}

async function first(db: Queryable, statement: NamedStatement, values: readonly unknown[]): Promise<Promotion | null> {
  return (await db.query<Promotion>(statement, values)).rows[0] ?? null;
}
