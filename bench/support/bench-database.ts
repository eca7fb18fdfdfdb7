import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TransactionalBus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { Database } from '#lib/postgres/database.ts';
import { startEmbeddedPostgres } from '#lib/postgres/embedded-server.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import { startKafka } from '../../scripts/peers/kafka.ts';
import { startSchemaRegistry } from '../../scripts/peers/schema-registry.ts';
import { openPlace, type Place, prepareKafkaPlace } from '../../test/support/place.ts';
import { machineKind, requireLinux } from './machine.ts';
import { print, printTable } from './report.ts';

export interface BenchDatabase {
  readonly url: string;
  /** Of the postmaster. */
  readonly pid: number;
  readonly database: Database;
  /** For programs of the benchmark: the database alone, or with Kafka. */
  readonly place: Place;
  readonly bus: TransactionalBus;
  readonly codec: Codec;
  /** Servers besides PostgreSQL: process id by name. */
  readonly servers: Readonly<Record<string, number>>;
}

export interface BenchDatabaseOptions {
  /** What is measured, for the head line. */
  readonly title: string;
  /** Print what pg_stat_statements saw at the end, statements inside functions included. */
  readonly statements?: boolean;
  /** `kafka`: a broker and a schema registry of its own beside the database. */
  readonly bus?: string;
}

/** Of a benchmark that runs on either bus. */
export const BUS_OPTION = {
  standard: 'postgres',
  summary: 'postgres (embedded) or kafka (a real broker on this machine)',
};

/** Room for the largest run: no checkpoint is forced by the log's size while something is measured. */
const SETTINGS = { shared_buffers: '512MB', max_wal_size: '8GB' };
const STATEMENTS = { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.track': 'all' };

/** A fresh PostgreSQL of its own, durable, with the product's tables and topics, for the time of `work`. */
export async function withDatabase(
  options: BenchDatabaseOptions,
  work: (bench: BenchDatabase) => Promise<void>,
): Promise<void> {
  requireLinux();
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'postgres.log'),
    settings: { ...SETTINGS, ...(options.statements === true ? STATEMENTS : {}) },
  });
  const database = new Database({ url: server.url, applicationName: 'bench' });
  const peers = options.bus === 'kafka' ? await startPeers(folder) : null;
  try {
    await migrate(database);
    const place = peers === null ? server.url : { databaseUrl: server.url, ...peers.addresses };
    if (typeof place !== 'string') await prepareKafkaPlace(place);
    const { bus, codec, close } = await openPlace(place, 'bench');
    if (options.statements === true) await database.query('create extension if not exists pg_stat_statements');
    const { rows } = await database.query<{ version: string }>('select current_setting($1) as version', [
      'server_version',
    ]);
    const kind = peers === null ? 'embedded bus' : 'Kafka 4.4, one broker';
    print(
      `${options.title}, ${kind}\n${machineKind()}, PostgreSQL ${rows[0]?.version ?? ''} (fsync and synchronous_commit on)`,
    );
    const servers = peers?.servers ?? {};
    await work({ url: server.url, pid: server.pid, database, place, bus, codec, servers });
    if (options.statements === true) await printStatements(database);
    await close();
  } finally {
    await peers?.stop();
    await database.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function startPeers(folder: string) {
  const [kafka, registry] = await Promise.all([
    startKafka({ dir: join(folder, 'kafka') }),
    startSchemaRegistry({ dir: join(folder, 'registry') }),
  ]);
  return {
    addresses: { busUrl: `kafka://${kafka.brokers.join(',')}`, registryUrl: registry.url, prefix: '' },
    servers: { kafka: kafka.nodes[0]?.pid ?? 0 },
    stop: async () => void (await Promise.all([kafka.stop(), registry.stop()])),
  };
}

async function printStatements(database: Database): Promise<void> {
  const { rows } = await database.query<{ query: string; calls: number; ms: number; mean: number }>(
    `select query, calls, total_exec_time as ms, mean_exec_time as mean from pg_stat_statements
     order by total_exec_time desc limit 20`,
  );
  print('\nstatements by total time; those inside functions are counted again in the function that runs them');
  printTable(
    rows.map((row) => ({
      statement: row.query.replaceAll(/\s+/g, ' ').slice(0, 100).padEnd(100),
      calls: String(row.calls),
      'total ms': row.ms.toFixed(0),
      'mean ms': row.mean.toFixed(3),
    })),
  );
  const scans = await database.query<{ relname: string; seq_tup_read: number; idx_scan: number }>(
    `select relname, seq_tup_read, idx_scan from pg_stat_user_tables order by seq_tup_read desc limit 8`,
  );
  print('\ntables by rows read in sequential scans');
  printTable(
    scans.rows.map((row) => ({
      table: row.relname,
      'rows read': String(row.seq_tup_read),
      'index scans': String(row.idx_scan),
    })),
  );
}
