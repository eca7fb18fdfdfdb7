import { randomBytes } from 'node:crypto';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ServerAccount } from './embedded-account.ts';
import { CLUSTER_USER } from './embedded-address.ts';
import type { PostgresBinaries } from './embedded-binaries.ts';
import { processIdentity, signalProcess } from './process-identity.ts';

export interface Cluster {
  readonly binaries: PostgresBinaries;
  readonly account: ServerAccount;
  readonly dataDir: string;
  /** False skips the flush to disk after creation (tests). */
  readonly durable: boolean;
}

/**
 * Makes the cluster and its password file (`<dataDir>.password`, mode 0600) unless they exist. Idempotent; a kill at any moment leaves
 * either no cluster or a whole one whose password is in the file.
 */
export async function ensureCluster(cluster: Cluster): Promise<{ password: string }> {
  const password = await readOrMakePassword(`${cluster.dataDir}.password`);
  const complete = await access(join(cluster.dataDir, 'PG_VERSION')).then(
    () => true,
    () => false,
  );
  if (!complete) await createCluster(cluster, password);
  await cluster.account.own(cluster.dataDir);
  return { password };
}

async function readOrMakePassword(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const password = randomBytes(24).toString('hex');
  // Renamed when whole: an empty file after a kill would lock us out of the cluster for ever.
  await writeFile(`${file}.new`, `${password}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return password;
}

/** Creates the cluster under another name and renames it, so that a kill halfway leaves nothing that looks like one. */
async function createCluster({ binaries, account, dataDir, durable }: Cluster, password: string): Promise<void> {
  const unfinished = `${dataDir}.new`;
  const passwordFile = `${unfinished}.password`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  await rm(passwordFile, { force: true });
  await writeFile(passwordFile, password, { mode: 0o600 });
  await account.own(unfinished);
  await account.own(passwordFile);
  const args = [
    '-D',
    unfinished,
    '-U',
    CLUSTER_USER,
    '-A',
    'scram-sha-256',
    `--pwfile=${passwordFile}`,
    '-E',
    'UTF8',
    '--locale=C',
  ];
  if (!durable) args.push('--no-sync');
  const child = account.spawn(binaries.initdb, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  );
  await rm(passwordFile, { force: true });
  if (code !== 0) throw startFailed('initdb failed', output);
  await rename(unfinished, dataDir);
}

const POLL_MS = 25;
/** A fast stop writes a checkpoint; an immediate one leaves recovery to the next start. */
const LEFTOVER_FAST_STOP_MS = 5_000;
const LEFTOVER_IMMEDIATE_STOP_MS = 2_000;

/**
 * Stops a server that an earlier run left on the folder, and removes a pid file whose number belongs to some other program by now:
 * PostgreSQL itself takes any living process of that number for a server and would refuse for ever.
 */
export async function stopLeftover(dataDir: string): Promise<void> {
  const pidFile = join(dataDir, 'postmaster.pid');
  const pid = Number((await readFile(pidFile, 'utf8').catch(() => '')).split('\n')[0]);
  const found = await processIdentity(pid);
  if (found === null) return;
  if (!/\bpostgres\b/.test(found.command) || !found.command.includes(dataDir)) {
    await rm(pidFile, { force: true });
    return;
  }
  const gone = async (withinMs: number): Promise<boolean> => {
    for (let waited = 0; waited < withinMs; waited += POLL_MS) {
      if ((await processIdentity(pid))?.startedAt !== found.startedAt) return true;
      await delay(POLL_MS);
    }
    return false;
  };
  for (const [signal, withinMs] of [
    ['SIGINT', LEFTOVER_FAST_STOP_MS],
    ['SIGQUIT', LEFTOVER_IMMEDIATE_STOP_MS],
  ] as const) {
    signalProcess(pid, signal);
    if (await gone(withinMs)) return;
  }
  signalProcess(pid, 'SIGKILL');
  await gone(LEFTOVER_IMMEDIATE_STOP_MS);
}

/** Enough to see the cause; the file holds the rest. */
const LOG_LINES_SHOWN = 12;

/** What happened and the last lines the program wrote. */
export function startFailed(what: string, log: string): TrainyardError {
  const lines = log.trimEnd().split('\n').slice(-LOG_LINES_SHOWN).join('\n');
  return new TrainyardError('PostgresStartFailed', `embedded PostgreSQL: ${what}\n${lines}`);
}
