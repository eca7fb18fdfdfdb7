import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { lchown, lstat, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { PostgresBinaries } from './embedded-binaries.ts';

/** No PG* or NODE_* variable of ours may reach the server; the locale fixes the language of its messages. */
const ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' };

/** In this order; PostgreSQL needs an account that /etc/passwd names. */
const ACCOUNT_NAMES = ['postgres', 'nobody'];

/** Starts a PostgreSQL program under the account that owns the data; the pid is the program's own. */
export interface ServerAccount {
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess;
  /** Gives a file or folder (with all it holds) to the account. */
  own(path: string): Promise<void>;
}

/**
 * The account PostgreSQL runs under. Ours, except for root, whom PostgreSQL refuses: then the owner of an existing data folder,
 * or `postgres`, or `nobody`.
 *
 * A clone below a folder that only root may enter (`/root`, `mktemp -d`) is unreachable for that account. It then keeps the one
 * right that is missing, CAP_DAC_OVERRIDE, by way of util-linux `setpriv`, rather than us changing permissions of folders that are not ours.
 */
export async function serverAccount(binaries: PostgresBinaries, dataDir: string): Promise<ServerAccount> {
  if (process.getuid?.() !== 0)
    return { spawn: (program, args, options) => run(program, args, options), own: async () => undefined };

  const { uid, gid } = (await ownerOf(dataDir)) ?? (await accountFromPasswd());
  const own = (path: string): Promise<void> => chownAll(path, uid, gid);
  const plain = (program: string, args: readonly string[], options: SpawnOptions): ChildProcess =>
    run(program, args, { ...options, uid, gid });
  if (await reaches(plain, binaries, dataDir)) return { spawn: plain, own };

  const privileges = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--inh-caps=+dac_override'];
  const keepAccess = (program: string, args: readonly string[], options: SpawnOptions): ChildProcess =>
    run('setpriv', [...privileges, '--ambient-caps=+dac_override', '--', program, ...args], options);
  if (await reaches(keepAccess, binaries, dataDir)) return { spawn: keepAccess, own };
  throw new TrainyardError(
    'PostgresUnavailable',
    `PostgreSQL does not run as root, and user id ${uid} may not enter ${dirname(dataDir)} or the folder of ${binaries.postgres}: ` +
      'allow others to enter the folders above them (chmod o+x), run as another user, or use a PostgreSQL of your own (--database-url)',
  );
}

const run = (program: string, args: readonly string[], options: SpawnOptions): ChildProcess =>
  spawn(program, args, { ...options, env: ENVIRONMENT });

/** The owner of an existing data folder, unless that is root. */
async function ownerOf(dataDir: string): Promise<{ uid: number; gid: number } | null> {
  const info = await stat(dataDir).catch(() => null);
  return info === null || info.uid === 0 ? null : { uid: info.uid, gid: info.gid };
}

async function accountFromPasswd(): Promise<{ uid: number; gid: number }> {
  const lines = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'));
  for (const name of ACCOUNT_NAMES) {
    const entry = lines.find((fields) => fields[0] === name);
    const uid = Number(entry?.[2]);
    const gid = Number(entry?.[3]);
    if (uid > 0 && gid > 0) return { uid, gid };
  }
  throw new TrainyardError(
    'PostgresUnavailable',
    'PostgreSQL does not run as root, and /etc/passwd has neither a user `postgres` nor `nobody`: run as another user, or use a PostgreSQL of your own (--database-url)',
  );
}

/** Asks by trying, so that access lists, umask and read-only mounts count too. */
function reaches(start: ServerAccount['spawn'], binaries: PostgresBinaries, dataDir: string): Promise<boolean> {
  const script = 'cd "$1" && test -r "$2" && "$3" --version';
  const args = ['-c', script, 'sh', dirname(dataDir), binaries.probe, binaries.postgres];
  return new Promise((resolve) => {
    const child = start('/bin/sh', args, { stdio: 'ignore', cwd: '/' });
    child.once('error', () => resolve(false));
    child.once('exit', (code) => resolve(code === 0));
  });
}

/** The folder itself last: it is what says next time that all of it has been done. */
async function chownAll(path: string, uid: number, gid: number): Promise<void> {
  const info = await lstat(path);
  if (info.uid === uid) return;
  if (info.isDirectory()) for (const name of await readdir(path)) await chownAll(join(path, name), uid, gid);
  await lchown(path, uid, gid);
}
