import { Client, type ClientBase, type ClientConfig, Pool, TypeOverrides } from 'pg';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { type Listener, ListeningConnection, type OnNotify } from './listening-connection.ts';
import { StatementRate } from './statement-rate.ts';

// int8 as number: counts, offsets and epoch milliseconds all stay below 2^53.
const parsers = new TypeOverrides();
parsers.setTypeParser(20, (text: string) => Number(text));

const SESSION_SETTINGS = ['plan_cache_mode=force_generic_plan', 'jit=off', 'idle_in_transaction_session_timeout=10s'];
const INDEX_LOOKUPS_ONLY = ['enable_seqscan=off', 'enable_hashjoin=off', 'enable_mergejoin=off'];

/**
 * A quiet process waits so long for its one session before it opens another, which begins cold (its first statements take tens of ms) and stays for 10 s. Longer
 * than a commit on a slow disk.
 */
const SHORT_WAIT_MS = 100;

export type QueryResult<Row> = { readonly rows: Row[]; readonly rowCount: number };

/** Anything that runs one statement: the pool or a client inside a transaction. */
export interface Queryable {
  query<Row = Record<string, unknown>>(
    statement: string | NamedStatement,
    values?: readonly unknown[],
  ): Promise<QueryResult<Row>>;
}

/** Prepared once per connection under its name. */
export interface NamedStatement {
  readonly name: string;
  readonly text: string;
}

export interface DatabaseOptions {
  readonly url: string;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  /** Connections at most, besides the one that listens; default 4, since seven processes share one small server. */
  readonly maxConnections?: number;
  /** Milliseconds to wait for a connection before `ServiceUnavailable`; default 5,000. */
  readonly connectTimeoutMs?: number;
  /**
   * Plans joins as nested loops over indexes only. For connections whose statements join short parameter arrays with large tables: a generic plan
   * made while a table was small reads all of it later (measured: 100 ms instead of 3 for 1,000 look-ups among 30,000 rows).
   */
  readonly indexLookupsOnly?: boolean;
}

/** A pool of connections with transactions, and one that listens and, while the process is quiet, does its work. Errors keep PostgreSQL's SQLSTATE in `code`. */
export class Database implements Queryable {
  readonly #pool: Pool;
  readonly #listening: ListeningConnection;
  readonly #rate = new StatementRate();

  /** Throws `ValidationFailed` naming DATABASE_URL for a URL that cannot be read; connects with the first query. */
  constructor(options: DatabaseOptions) {
    checkUrl(options.url);
    const config: ClientConfig = {
      connectionString: options.url,
      application_name: options.applicationName,
      connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
      // Generic plans and no JIT: statements are small, frequent and planned once (docs/decisions/0002).
      // A process frozen inside a transaction would hold the bus's heads: the server ends it.
      options: [...SESSION_SETTINGS, ...(options.indexLookupsOnly === true ? INDEX_LOOKUPS_ONLY : [])]
        .map((setting) => `-c ${setting}`)
        .join(' '),
      types: parsers,
    };
    this.#pool = new Pool({ ...config, max: options.maxConnections ?? 4 });
    // An idle connection that breaks is replaced by the pool at the next use; without a listener the process would crash.
    this.#pool.on('error', () => undefined);
    this.#listening = new ListeningConnection({ ...config, application_name: `${options.applicationName}:listen` });
  }

  async query<Row>(statement: string | NamedStatement, values: readonly unknown[] = []): Promise<QueryResult<Row>> {
    const client = await this.#lent();
    if (client === null) return run<Row>(this.#pool, statement, values);
    let broken = false;
    try {
      return await run<Row>(client, statement, values);
    } catch (error) {
      broken = endsConnection(error);
      throw error;
    } finally {
      this.#listening.giveBack(client, broken);
    }
  }

  /** Runs `work` in one transaction (READ COMMITTED); rolled back when it throws. The client must not be used afterwards. */
  async transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    const lent = await this.#lent();
    if (lent !== null)
      return inTransaction(lent, work, (broken) => this.#listening.giveBack(lent, broken !== undefined));
    const client = await this.#pool.connect();
    // The pool listens to idle clients only: a connection that breaks between two statements of ours would end the process. The next statement says it.
    const ignore = (): void => undefined;
    client.on('error', ignore);
    return inTransaction(client, work, (broken) => {
      client.off('error', ignore);
      client.release(broken);
    });
  }

  /** The connection that listens, for one statement or transaction of a quiet process; null where the pool shall serve. */
  async #lent(): Promise<Client | null> {
    return this.#rate.isBusy(performance.now()) ? null : this.#listening.lendWithin(SHORT_WAIT_MS);
  }

  /**
   * Calls back on NOTIFY (in a quiet process at the end of its present statement or transaction); reconnects by itself and then calls `onNotify`
   * once per channel for what it may have missed.
   */
  listen(channels: readonly string[], onNotify: OnNotify): Listener {
    return this.#listening.listen(channels, onNotify);
  }

  /** Throws `ServiceUnavailable` when the database cannot be reached. */
  async check(): Promise<void> {
    try {
      await this.query('select 1');
    } catch (cause) {
      throw new TrainyardError(
        'ServiceUnavailable',
        `the database cannot be reached (DATABASE_URL): ${messageOf(cause)}`,
        {
          cause,
        },
      );
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

/** The pool reads its URL at the first query only, and a wrong one would look like a server that is away. */
function checkUrl(connectionString: string): void {
  try {
    new Client({ connectionString });
  } catch (cause) {
    // The URL may hold a password: neither it nor an error that repeats it is shown.
    const reason = 'it is not postgresql://user:password@host:port/database';
    throw new TrainyardError('ValidationFailed', `DATABASE_URL cannot be used: ${reason}`, {
      fields: [{ pointer: '/DATABASE_URL', message: reason }],
      details: { cause: (cause as Error).name },
    });
  }
}

async function run<Row>(
  target: Pool | ClientBase,
  statement: string | NamedStatement,
  values: readonly unknown[],
): Promise<QueryResult<Row>> {
  const config = typeof statement === 'string' ? { text: statement } : statement;
  const result = await target.query({ ...config, values: [...values] });
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
}

async function inTransaction<T>(
  client: ClientBase,
  work: (tx: Queryable) => Promise<T>,
  release: (broken?: Error) => void,
): Promise<T> {
  let broken: Error | undefined;
  try {
    await client.query('begin');
    const result = await work({ query: (statement, values) => run(client, statement, values ?? []) });
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw error;
  } finally {
    release(broken);
  }
}

/** Of a failed system call: ECONNRESET. No SQLSTATE class begins with E. */
const SYSTEM_CODE = /^E[A-Z]+$/;

/** SQLSTATE of an error thrown by PostgreSQL, or null. EPIPE has five letters, too, and is none. */
export function sqlState(error: unknown): string | null {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !SYSTEM_CODE.test(code) ? code : null;
}

/** Raised by our own functions when a shard or partition belongs to somebody else by now. */
export const FENCED = 'TY001';

/** True when the connection is gone with the error: the server's last word before it closes one is FATAL (an administrator's command, a shutdown). */
const endsConnection = (error: unknown): boolean =>
  isConnectionError(error) || (error as { severity?: unknown } | null)?.severity === 'FATAL';

/** True for an error without SQLSTATE that comes from the connection: node-postgres reports broken and refused ones as plain errors. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return SYSTEM_CODE.test(code);
  return /connection|timeout|not queryable/i.test(error.message);
}
