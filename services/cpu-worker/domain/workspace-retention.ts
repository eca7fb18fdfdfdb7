/** A folder or file of the workspace with the time anything directly in it changed, epoch ms. */
export interface WorkspaceEntry {
  readonly path: string;
  readonly changedAtMs: number;
}

/**
 * What may be removed from a workspace: entries that did not change for `retentionMs`. Everything there can be fetched or made again, so the
 * only harm of removing too early is time; the retention must exceed the longest pause of a running job.
 */
export const expiredEntries = (entries: readonly WorkspaceEntry[], retentionMs: number, nowMs: number): string[] =>
  entries.filter((entry) => nowMs - entry.changedAtMs > retentionMs).map((entry) => entry.path);
