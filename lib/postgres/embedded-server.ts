import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, escapeIdentifier } from 'pg';
import { messageOf } from '#lib/kernel/errors.ts';
import { type ServerAccount, serverAccount } from './embedded-account.ts';
import { DEFAULT_DATABASE, socketDirOf, urlOf } from './embedded-address.ts';
import { embeddedBinaries, type PostgresBinaries } from './embedded-binaries.ts';
import { ensureCluster, startFailed, stopLeftover } from './embedded-cluster.ts';
import { signalProcess } from './process-identity.ts';

export interface EmbeddedPostgresOptions {
  /** The cluster's folder; made when absent. `<dataDir>.password` and `<dataDir>.socket/` lie beside it. */
  readonly dataDir: string;
  /** Appended to; kept as `<logFile>.1` when it is larger than 10 MiB at start. */
  readonly logFile: string;
  /** TCP port on 127.0.0.1, also part of the socket's name; default: a free one. */
  readonly port?: number;
  /** Created when absent; default `trainyard`. */
  readonly database?: string;
  /** postgresql.conf settings over ours, by name. `fsync: 'off'` also makes the creation of the cluster faster (tests). */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface EmbeddedPostgres {
  /** For node-postgres and libpq; over the Unix socket where its path is short enough, else TCP. Holds the password. */
  readonly url: string;
  readonly port: number;
  /** The postmaster. */
  readonly pid: number;
  /**
   * Ends all sessions, writes a checkpoint and waits for the end. Harsher after 70 % of `withinMs` (no checkpoint, so the next start recovers
   * from the log) and after all of it (SIGKILL); default 7,000. Idempotent.
   */
  stop(options?: { readonly withinMs?: number }): Promise<void>;
  /** Resolves when the server has ended, whoever ended it; never rejects. */
  readonly exited: Promise<ServerExit>;
}

export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  max_connections: '100',
  shared_buffers: '128MB',
  // Larger than what 5 minutes at the measured peak write (about 20 MB/s would be 6 GB; 2 GB bounds the disk instead).
  max_wal_size: '2GB',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  jit: 'off',
  // Small statements only; and parallel workers need /dev/shm, of which a container has 64 MB.
  max_parallel_workers_per_gather: '0',
  // Nobody subscribes: a process less.
  max_logical_replication_workers: '0',
  // What is read lies in memory: three processes less.
  io_method: 'sync',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] %q%a ',
  log_min_messages: 'warning',
};

const LOG_BYTES = 10 * 1024 * 1024;
/** Crash recovery replays at most max_wal_size; 88 MB took 0.9 s here. */
const START_TIMEOUT_MS = 60_000;
/** After kill -9 a start is refused until the old backends are gone: about 1 s measured. */
const REFUSED_RETRY_MS = 250;
const REFUSED_RETRIES = 60;
const POLL_MS = 25;
const STOP_MS = 7_000;
const FAST_STOP_SHARE = 0.7;
/** Services that lose their supervisor get this long to store what they hold before the server goes. */
const ORPHAN_GRACE_SECONDS = 2;

/**
 * Starts a real PostgreSQL on `dataDir`, creating the cluster and the database at the first start, and returns once it answers.
 *
 * The server is our child but in a session of its own, so that Ctrl-C in a terminal reaches us and not it. When this process dies without
 * `stop()`, a guard stops the server 2 s later. A server that is left on the data folder is stopped first: the caller must hold whatever lock
 * says that nobody else uses the folder. Throws `PostgresUnavailable` (nothing to run here) or `PostgresStartFailed` (with the last log lines).
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  const logFile = resolve(options.logFile);
  const settings = { ...SETTINGS, ...options.settings };
  const binaries = await embeddedBinaries();
  await mkdir(dirname(dataDir), { recursive: true });
  await mkdir(dirname(logFile), { recursive: true });
  const account = await serverAccount(binaries, dataDir);

  // 1. The cluster, complete or not there at all.
  const { password } = await ensureCluster({ binaries, account, dataDir, durable: settings['fsync'] !== 'off' });

  // 2. Nobody else on it.
  await stopLeftover(dataDir);

  // 3. The server.
  const port = options.port ?? (await freePort());
  const socketDir = socketDirOf(dataDir, port);
  settings['port'] = String(port);
  settings['unix_socket_directories'] = socketDir ?? '';
  if (socketDir !== null) {
    await mkdir(socketDir, { recursive: true, mode: 0o700 });
    await account.own(socketDir);
  }
  const url = (database: string): string => urlOf({ password, port, socketDir }, database);
  const server = await launch({ binaries, account, dataDir, logFile, settings, url: url('postgres') });

  // 4. The database.
  const database = options.database ?? DEFAULT_DATABASE;
  try {
    await createDatabase(url('postgres'), database);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { ...server, url: url(database), port };
}

interface Launch {
  readonly binaries: PostgresBinaries;
  readonly account: ServerAccount;
  readonly dataDir: string;
  readonly logFile: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly url: string;
}

type RunningServer = Pick<EmbeddedPostgres, 'pid' | 'stop' | 'exited'>;

/** Starts the server and waits until it answers; tries again as long as it says that the folder is still in use. */
async function launch(start: Launch): Promise<RunningServer> {
  for (let attempt = 0; ; attempt++) {
    await rotate(start.logFile);
    const logStart = await stat(start.logFile).then(
      (info) => info.size,
      () => 0,
    );
    const server = await spawnServer(start);
    const failure = await answers(server, start.url);
    if (failure === null) return server;
    await server.stop();
    const log = (await readFile(start.logFile)).subarray(logStart).toString();
    const inUse = /lock file .* already exists|pre-existing shared memory block|is still in use/.test(log);
    if (!inUse || attempt >= REFUSED_RETRIES) throw startFailed(failure, log);
    await delay(REFUSED_RETRY_MS);
  }
}

async function spawnServer({ binaries, account, dataDir, logFile, settings }: Launch): Promise<RunningServer> {
  const args = ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  const log = openSync(logFile, 'a', 0o600);
  let child: ChildProcess;
  try {
    child = account.spawn(binaries.postgres, args, { stdio: ['ignore', log, log], cwd: '/', detached: true });
  } finally {
    closeSync(log);
  }
  const ended = new Promise<ServerExit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const pid = child.pid as number;
  const releaseGuard = guard(pid, dataDir);
  const exited = ended.finally(releaseGuard);
  return { pid, exited, stop: (options) => stopServer(pid, exited, options?.withinMs) };
}

async function stopServer(pid: number, exited: Promise<ServerExit>, withinMs = STOP_MS): Promise<void> {
  const endsWithin = async (ms: number): Promise<boolean> => {
    const timer = new AbortController();
    const timeout = delay(ms, false, { signal: timer.signal }).catch(() => false);
    const ended = await Promise.race([exited.then(() => true), timeout]);
    timer.abort();
    return ended;
  };
  // Signal only a server that runs: when it has ended, the number may be another program's.
  if (await endsWithin(0)) return;
  signalProcess(pid, 'SIGINT');
  if (await endsWithin(withinMs * FAST_STOP_SHARE)) return;
  signalProcess(pid, 'SIGQUIT');
  if (await endsWithin(withinMs * (1 - FAST_STOP_SHARE))) return;
  signalProcess(pid, 'SIGKILL');
  await exited;
}

/**
 * A shell that waits for its standard input to close, which happens when this process dies in whatever way, and then stops the server,
 * provided the pid file still names it. A shell because it costs 1 MB where a second Node costs 40.
 */
function guard(pid: number, dataDir: string): () => void {
  const script = `read -r _; sleep ${ORPHAN_GRACE_SECONDS}; read -r now < "$1/postmaster.pid" && test "$now" = "$2" && kill -INT "$2"`;
  const shell = spawn('/bin/sh', ['-c', script, 'postgres-guard', dataDir, String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    detached: true,
  });
  shell.on('error', () => undefined);
  shell.stdin.on('error', () => undefined);
  shell.unref();
  return () => {
    shell.kill('SIGKILL');
  };
}

/** Null once a session could be opened; otherwise why not. */
async function answers(server: RunningServer, url: string): Promise<string | null> {
  let exit: ServerExit | null = null;
  void server.exited.then((value) => (exit = value));
  let last = 'no answer';
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline; ) {
    if (exit !== null) return `the server ended at once (${JSON.stringify(exit)})`;
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return null;
    } catch (error) {
      last = messageOf(error);
      client.end().catch(() => undefined);
      // 28P01: the password file does not belong to this cluster; waiting will not help.
      if ((error as { code?: unknown }).code === '28P01') return last;
    }
    await delay(POLL_MS);
  }
  return `no session within ${START_TIMEOUT_MS / 1_000} s: ${last}`;
}

async function createDatabase(url: string, database: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [database]);
    if (rowCount === 0) await client.query(`create database ${escapeIdentifier(database)}`);
  } finally {
    await client.end();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no TCP port on 127.0.0.1');
  return address.port;
}

async function rotate(logFile: string): Promise<void> {
  const info = await stat(logFile).catch(() => null);
  if (info !== null && info.size > LOG_BYTES) await rename(logFile, `${logFile}.1`);
  if (info !== null) await chmod(logFile, 0o600).catch(() => undefined);
}
