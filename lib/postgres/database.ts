import { Client, escapeIdentifier, Pool, type PoolClient, TypeOverrides } from 'pg';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';

// int8 as number: counts, offsets and epoch milliseconds all stay below 2^53.
const parsers = new TypeOverrides();
parsers.setTypeParser(20, (text: string) => Number(text));

const SESSION_SETTINGS = ['plan_cache_mode=force_generic_plan', 'jit=off', 'idle_in_transaction_session_timeout=10s'];
const INDEX_LOOKUPS_ONLY = ['enable_seqscan=off', 'enable_hashjoin=off', 'enable_mergejoin=off'];

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
  /** Connections at most; default 4, since seven processes share one small server. */
  readonly maxConnections?: number;
  /** Milliseconds to wait for a connection before `ServiceUnavailable`; default 5,000. */
  readonly connectTimeoutMs?: number;
  /**
   * Plans joins as nested loops over indexes only. For connections whose statements join short parameter arrays with large tables: a generic plan
   * made while a table was small reads all of it later (measured: 100 ms instead of 3 for 1,000 look-ups among 30,000 rows).
   */
  readonly indexLookupsOnly?: boolean;
}

/** A pool of connections with transactions. Errors keep PostgreSQL's SQLSTATE in `code`. */
export class Database implements Queryable {
  readonly #pool: Pool;
  readonly #options: DatabaseOptions;

  /** Throws `ValidationFailed` naming DATABASE_URL for a URL that cannot be read; connects with the first query. */
  constructor(options: DatabaseOptions) {
    checkUrl(options.url);
    this.#options = options;
    this.#pool = new Pool({
      connectionString: options.url,
      application_name: options.applicationName,
      max: options.maxConnections ?? 4,
      connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
      // Generic plans and no JIT: statements are small, frequent and planned once (docs/decisions/0002).
      // A process frozen inside a transaction would hold the bus's heads: the server ends it.
      options: [...SESSION_SETTINGS, ...(options.indexLookupsOnly === true ? INDEX_LOOKUPS_ONLY : [])]
        .map((setting) => `-c ${setting}`)
        .join(' '),
      types: parsers,
    });
    // An idle connection that breaks is replaced by the pool at the next use; without a listener the process would crash.
    this.#pool.on('error', () => undefined);
  }

  async query<Row>(statement: string | NamedStatement, values: readonly unknown[] = []): Promise<QueryResult<Row>> {
    return run<Row>(this.#pool, statement, values);
  }

  /** Runs `work` in one transaction (READ COMMITTED); rolled back when it throws. The client must not be used afterwards. */
  async transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    // The pool listens to idle clients only: a connection that breaks between two statements of ours would end the process. The next statement says it.
    const ignore = (): void => undefined;
    client.on('error', ignore);
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
      client.off('error', ignore);
      client.release(broken);
    }
  }

  /** A dedicated connection that calls back on NOTIFY; reconnects by itself and then calls `onNotify` once for what it may have missed. */
  listen(channels: readonly string[], onNotify: (channel: string, payload: string) => void): Listener {
    return new Listener(this.#options, channels, onNotify);
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
  target: Pool | PoolClient,
  statement: string | NamedStatement,
  values: readonly unknown[],
): Promise<QueryResult<Row>> {
  const config = typeof statement === 'string' ? { text: statement } : statement;
  const result = await target.query({ ...config, values: [...values] });
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
}

const RECONNECT_MS = 250;

class Listener {
  readonly #options: DatabaseOptions;
  readonly #channels: readonly string[];
  readonly #onNotify: (channel: string, payload: string) => void;
  #client: Client | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(
    options: DatabaseOptions,
    channels: readonly string[],
    onNotify: (channel: string, payload: string) => void,
  ) {
    this.#options = options;
    this.#channels = channels;
    this.#onNotify = onNotify;
    void this.#connect();
  }

  async #connect(): Promise<void> {
    const client = new Client({
      connectionString: this.#options.url,
      application_name: `${this.#options.applicationName}:listen`,
      connectionTimeoutMillis: this.#options.connectTimeoutMs ?? 5_000,
    });
    this.#client = client;
    let failed = false;
    const retry = (): void => {
      if (failed || this.#closed) return;
      failed = true;
      client.end().catch(() => undefined);
      this.#timer = setTimeout(() => void this.#connect(), RECONNECT_MS);
    };
    client.on('error', retry);
    client.on('end', retry);
    client.on('notification', (message) => this.#onNotify(message.channel, message.payload ?? ''));
    try {
      await client.connect();
      for (const channel of this.#channels) await client.query(`listen ${escapeIdentifier(channel)}`);
      for (const channel of this.#channels) this.#onNotify(channel, '');
    } catch {
      retry();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#client?.end().catch(() => undefined);
  }
}

export type { Listener };

/** SQLSTATE of an error thrown by PostgreSQL, or null. */
export function sqlState(error: unknown): string | null {
  const code = (error as { code?: unknown } | null)?.code;
  // Each has a digit. EPIPE, of a connection that is gone, has five capitals too.
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** Raised by our own functions when a shard or partition belongs to somebody else by now. */
export const FENCED = 'TY001';

/** True for an error without SQLSTATE that comes from the connection: node-postgres reports broken and refused ones as plain errors. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return /^E[A-Z]+$/.test(code);
  return /connection|timeout|not queryable/i.test(error.message);
}
