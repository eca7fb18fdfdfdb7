import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import { type ProcessIdentity, processIdentity } from '#lib/postgres/process-identity.ts';

export interface HomeLock {
  release(): Promise<void>;
}

type Owner = Pick<ProcessIdentity, 'pid' | 'startedAt'>;

/** Taking over a stale lock is three file operations; a takeover older than this was interrupted by the death of its process. */
const TAKEOVER_MS = 10_000;
const RETRY_MS = 50;
const TRIES = 400;

/**
 * Makes this process the only one that runs a platform on a home. Throws `HomeInUse`, naming the process that does. The lock of a dead process
 * is taken over, also when its number belongs to another program by now: the lock holds the start time too.
 *
 * The file appears by `link`, whole and only if absent. A stale one is replaced under a second, short-lived lock, since of two processes that
 * both found it stale the slower one would otherwise remove the new lock of the faster.
 */
export async function lockHome(lockFile: string): Promise<HomeLock> {
  const self = await processIdentity(process.pid);
  invariant(self !== null, 'this process exists');
  // The token tells two locks of one process apart.
  const token = randomUUID();
  const content = JSON.stringify({ pid: self.pid, startedAt: self.startedAt, token });
  const mine = `${lockFile}.${token}`;
  await writeFile(mine, content, { mode: 0o600 });
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      if (await linked(mine, lockFile)) return { release: () => release(lockFile, content) };
      const owner = await ownerOf(lockFile);
      if (owner.alive)
        throw new TrainyardError(
          'HomeInUse',
          `a platform is already running on this home (process ${owner.pid}, ${lockFile}): stop it with Ctrl-C or \`kill ${owner.pid}\`, or choose another TRAINYARD_HOME`,
          { details: { pid: owner.pid } },
        );
      await takeOver(lockFile, mine, owner.content);
      if ((await contentOf(lockFile)) === content) return { release: () => release(lockFile, content) };
      await delay(RETRY_MS);
    }
    throw new TrainyardError('HomeInUse', `the lock ${lockFile} cannot be taken: other processes keep taking it`);
  } finally {
    await rm(mine, { force: true });
  }
}

/** The process that runs the platform on a home, or null. */
export async function lockOwner(lockFile: string): Promise<number | null> {
  const owner = await ownerOf(lockFile);
  return owner.alive ? owner.pid : null;
}

async function takeOver(lockFile: string, mine: string, stale: string | null): Promise<void> {
  const takeover = `${lockFile}.takeover`;
  if (!(await linked(mine, takeover))) {
    const info = await stat(takeover).catch(() => null);
    if (info !== null && Date.now() - info.ctimeMs > TAKEOVER_MS) await rm(takeover, { force: true });
    return;
  }
  try {
    if (stale === null || (await contentOf(lockFile)) !== stale) return;
    const copy = `${mine}.copy`;
    await writeFile(copy, await readFile(mine), { mode: 0o600 });
    await rename(copy, lockFile);
  } finally {
    await rm(takeover, { force: true });
  }
}

async function release(lockFile: string, content: string): Promise<void> {
  if ((await contentOf(lockFile)) === content) await rm(lockFile, { force: true });
}

async function ownerOf(lockFile: string): Promise<{ alive: boolean; pid: number; content: string | null }> {
  const content = await contentOf(lockFile);
  const owner = parseOwner(content);
  const found = owner === null ? null : await processIdentity(owner.pid);
  return { alive: found !== null && found.startedAt === owner?.startedAt, pid: owner?.pid ?? 0, content };
}

/** Null for a file that somebody else wrote or a disk damaged: then it protects nobody. */
function parseOwner(content: string | null): Owner | null {
  try {
    const value = JSON.parse(content ?? 'null') as Partial<Owner> | null;
    if (typeof value?.pid !== 'number' || typeof value.startedAt !== 'string') return null;
    return { pid: value.pid, startedAt: value.startedAt };
  } catch {
    return null;
  }
}

const contentOf = (file: string): Promise<string | null> => readFile(file, 'utf8').catch(() => null);

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
