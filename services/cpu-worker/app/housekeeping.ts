import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '#lib/kernel/errors.ts';
import { SCRATCH_PREFIX } from '#lib/worker/derived-folder.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { expiredEntries, type WorkspaceEntry } from '../domain/workspace-retention.ts';

/** Folders of the workspace whose entries belong to one job or one dataset each. */
const KEPT_APART = ['jobs', 'datasets'];

const HOUR_MS = 3_600_000;

/** Parts of interrupted uploads stay this long, so that a resumed upload finds them. */
const UPLOAD_PARTS_MS = 24 * HOUR_MS;

export interface HousekeepingReport {
  readonly removed: number;
  readonly storeBytes: number;
}

/** Removes workspaces of jobs that are long over, and what interrupted uploads left in the object store. Anything may be removed twice. */
export async function keepHouse(
  platform: WorkerPlatform,
  retentionMs: number,
  nowMs: number,
): Promise<HousekeepingReport> {
  const entries = await workspaceEntries(platform.workspaceDir);
  let removed = 0;
  for (const path of expiredEntries(entries, retentionMs, nowMs)) {
    try {
      await rm(path, { recursive: true, force: true });
      removed++;
    } catch (error) {
      platform.log.warn({ path, reason: messageOf(error) }, 'workspace entry not removed, trying again next time');
    }
  }
  const { bytes } = await platform.store.collectGarbage({ olderThanMs: UPLOAD_PARTS_MS, now: nowMs });
  return { removed, storeBytes: bytes };
}

async function workspaceEntries(root: string): Promise<WorkspaceEntry[]> {
  const paths: string[] = [];
  for (const folder of KEPT_APART)
    paths.push(...(await names(join(root, folder))).map((name) => join(root, folder, name)));
  paths.push(...(await names(root)).filter((name) => name.startsWith(SCRATCH_PREFIX)).map((name) => join(root, name)));
  const entries: WorkspaceEntry[] = [];
  for (const path of paths) {
    const found = await stat(path).catch(() => null);
    if (found !== null) entries.push({ path, changedAtMs: found.mtimeMs });
  }
  return entries;
}

const names = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);
