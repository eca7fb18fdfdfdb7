import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { processIdentity } from './process-identity.ts';

/** The one role of an embedded cluster, its superuser. */
export const CLUSTER_USER = 'trainyard';
/** The database that a platform works in. */
export const DEFAULT_DATABASE = 'trainyard';

/** sockaddr_un.sun_path: 108 bytes on Linux, 104 on macOS, the final zero included. */
const SOCKET_PATH_BYTES = 103;

export interface ServerAddress {
  readonly password: string;
  readonly port: number;
  /** Where its socket lies; null: its path would be too long, TCP on 127.0.0.1 only. */
  readonly socketDir: string | null;
}

/** The folder for the socket of a server on that data folder and port, or null when the path would be too long. */
export function socketDirOf(dataDir: string, port: number): string | null {
  const socketDir = `${dataDir}.socket`;
  return Buffer.byteLength(join(socketDir, `.s.PGSQL.${port}`)) <= SOCKET_PATH_BYTES ? socketDir : null;
}

/** For node-postgres and libpq. Holds the password. */
export function urlOf({ password, port, socketDir }: ServerAddress, database: string): string {
  const host = socketDir === null ? '' : `?host=${encodeURIComponent(socketDir)}`;
  return `postgresql://${CLUSTER_USER}:${password}@127.0.0.1:${port}/${database}${host}`;
}

/** The URL of the server that somebody runs on a data folder, from its pid file and password file; null when none runs there. */
export async function runningServerUrl(dataDir: string, database = DEFAULT_DATABASE): Promise<string | null> {
  const folder = resolve(dataDir);
  const [pidText = '', , , portText = ''] = (await textOf(join(folder, 'postmaster.pid'))).split('\n');
  const found = await processIdentity(Number(pidText));
  // The number may be another program's by now.
  if (found === null || !/\bpostgres\b/.test(found.command) || !found.command.includes(folder)) return null;
  const port = Number(portText);
  const password = (await textOf(`${folder}.password`)).trim();
  if (!Number.isInteger(port) || port === 0 || password === '') return null;
  return urlOf({ password, port, socketDir: socketDirOf(folder, port) }, database);
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
