import { createHash } from 'node:crypto';
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoredModel } from '#lib/serving/inference-protocol.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { pull, type StoredFolder } from '#lib/worker/workspace.ts';
import type { ModelPlace } from '../serving/loaded-model.ts';

/** Below the workspace; the CPU worker's housekeeping leaves it alone. */
const FOLDER = 'serving';

/** Models that stay on the disk; the one that was asked for longest ago goes first. A model that is loaded needs its folder no more. */
const KEPT_FOLDERS = 16;

/** Stored models on this machine's disk, each file verified against its manifest. What is asked for twice at a time is fetched once. */
export class ServedFolders {
  readonly #platform: WorkerPlatform;
  readonly #fetched = new Map<string, Promise<string>>();

  constructor(platform: WorkerPlatform) {
    this.#platform = platform;
  }

  /** Throws the store's errors; a failed fetch is tried again by the next request. */
  async placeOf({ weights, adapter }: StoredModel): Promise<ModelPlace> {
    const dir = await this.#folder(weights);
    return adapter === undefined ? { dir } : { dir, adapterDir: await this.#folder(adapter) };
  }

  #folder(stored: StoredFolder): Promise<string> {
    const name = createHash('sha256').update(`${stored.manifestKey}\n${stored.digest}`).digest('hex').slice(0, 40);
    const known = this.#fetched.get(name);
    if (known !== undefined) {
      // Used last: at the end of the order.
      this.#fetched.delete(name);
      this.#fetched.set(name, known);
      return known;
    }
    const fetching = this.#fetch(stored, name);
    this.#fetched.set(name, fetching);
    fetching.catch(() => this.#fetched.delete(name));
    return fetching;
  }

  async #fetch(stored: StoredFolder, name: string): Promise<string> {
    const root = join(this.#platform.workspaceDir, FOLDER);
    const folder = join(root, name);
    await pull(this.#platform, stored, folder, new AbortController().signal);
    const now = new Date();
    await utimes(folder, now, now);
    await this.#forgetOldest(root, name);
    return folder;
  }

  /** By the time of the fetch, so that what an earlier life of this process left goes, too. */
  async #forgetOldest(root: string, newest: string): Promise<void> {
    const inUse = new Set([...this.#fetched.keys()].slice(-KEPT_FOLDERS));
    const names = (await readdir(root)).filter((name) => name !== newest && !inUse.has(name));
    const folders = await Promise.all(
      names.map(async (name) => ({ name, at: (await stat(join(root, name))).mtimeMs })),
    );
    const surplus = folders.sort((a, b) => b.at - a.at).slice(Math.max(0, KEPT_FOLDERS - 1 - inUse.size));
    for (const { name } of surplus) {
      this.#fetched.delete(name);
      await rm(join(root, name), { recursive: true, force: true });
    }
  }
}
