import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { type HomeLock, lockHome } from '../../cli/start/home-lock.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where peers are installed, and what an installation may do and say. */
export interface PeerCache {
  readonly folder: string;
  /** False under PEERS_INSTALL=0: only what is in the cache is used. */
  readonly mayInstall: boolean;
  /** PATH, JAVA_HOME and the like, for finding tools and for running them. */
  readonly environment: Environment;
  /** One line for a person: an installation takes minutes and must not look like a hang. */
  readonly say: (line: string) => void;
}

/** A peer cannot run on this machine, for a reason that a person can act on: a missing tool, no network, PEERS_INSTALL=0. */
export class PeerUnavailable extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.name = 'PeerUnavailable';
  }
}

/** An entry of the cache: one folder, named after what it holds and its version. A new pin is a new folder. */
export interface CacheEntry {
  readonly name: string;
  /** For the progress lines: `MLflow 3.17.2 by pip (about 3 minutes, once)`. */
  readonly description: string;
  /** Fills an empty folder, which then gets its name. Nothing in it may hold the folder's own path. */
  readonly build: (folder: string) => Promise<void>;
}

/** PEERS_CACHE, else below the user's cache folder: it outlives checkouts, so that a machine installs once. */
export function peerCache(environment: Environment, say: (line: string) => void): PeerCache {
  const given = environment['PEERS_CACHE'];
  const folder =
    given === undefined || given === ''
      ? join(environment['HOME'] ?? homedir(), '.cache', 'trainyard', 'peers')
      : resolve(given);
  return { folder, mayInstall: environment['PEERS_INSTALL'] !== '0', environment, say };
}

/** A build that takes longer than this has hung. The longest, of versitygw, took 6.5 minutes on two busy cores. */
const WAIT_MS = 40 * 60_000;
const LOCK_POLL_MS = 500;

/**
 * The folder of a cache entry, built when it is not there. Of several processes one builds and the others wait for it; an interrupted build
 * leaves nothing that looks like a finished one. Throws `PeerUnavailable` under PEERS_INSTALL=0, or as `entry.build` does.
 */
export async function installOnce(cache: PeerCache, entry: CacheEntry): Promise<string> {
  const folder = join(cache.folder, entry.name);
  if (await isFolder(folder)) return folder;
  if (!cache.mayInstall)
    throw new PeerUnavailable(`${entry.name} is not in ${cache.folder}, and PEERS_INSTALL=0 forbids installing it`);
  await mkdir(cache.folder, { recursive: true });
  const lock = await waitForLock(cache, entry);
  try {
    if (await isFolder(folder)) return folder;
    await removeLeftovers(cache.folder, entry.name);
    const unfinished = join(cache.folder, `${unfinishedPrefix(entry.name)}${randomBytes(4).toString('hex')}`);
    await mkdir(unfinished);
    const startedAt = performance.now();
    cache.say(`installing ${entry.description} into ${folder}`);
    try {
      await entry.build(unfinished);
      await rename(unfinished, folder);
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
    cache.say(`installed ${entry.name} in ${Math.round((performance.now() - startedAt) / 1_000)} s`);
    return folder;
  } finally {
    await lock.release();
  }
}

async function waitForLock(cache: PeerCache, entry: CacheEntry): Promise<HomeLock> {
  const deadline = performance.now() + WAIT_MS;
  for (let told = false; ; ) {
    try {
      return await lockHome(join(cache.folder, `${entry.name}.lock`));
    } catch (error) {
      if (!(error instanceof TrainyardError && error.code === 'HomeInUse')) throw error;
      const owner = Number(error.details['pid']);
      if (performance.now() > deadline)
        throw new PeerUnavailable(`process ${owner} has been installing ${entry.name} for too long`, { cause: error });
      if (!told) cache.say(`process ${owner} is installing ${entry.name}; waiting for it`);
      told = true;
      await delay(LOCK_POLL_MS);
    }
  }
}

const unfinishedPrefix = (name: string): string => `.unfinished-${name}-`;

/** What a killed installation left behind; only called by the holder of the lock. */
async function removeLeftovers(folder: string, name: string): Promise<void> {
  for (const each of await readdir(folder))
    if (each.startsWith(unfinishedPrefix(name))) await rm(join(folder, each), { recursive: true, force: true });
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
