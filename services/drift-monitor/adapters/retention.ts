import type { Queryable } from '#lib/postgres/database.ts';

/** Rows of one statement: some 100 ms, and no long lock. */
const CHUNK = 10_000;
/** Statements of one sweep and table: a sweep ends, whatever there is; the next one comes in a minute. */
const MAX_CHUNKS = 200;
const DAY_MS = 86_400_000;
/** Suppressed signals and watches that nobody feeds any more; signals that were sent are kept. */
const HISTORY_MS = 90 * DAY_MS;

export interface Swept {
  readonly observations: number;
  readonly signals: number;
  readonly watches: number;
}

/** Deletes what is older than it is kept. Safe in parallel; what a sweep leaves, the next one takes. */
export async function sweep(database: Queryable, nowMs: number, observationRetentionMs: number): Promise<Swept> {
  return {
    observations: await inChunks(database, OBSERVATIONS, nowMs - observationRetentionMs),
    signals: await inChunks(database, SIGNALS, nowMs - HISTORY_MS),
    watches: await inChunks(database, WATCHES, nowMs - HISTORY_MS),
  };
}

async function inChunks(database: Queryable, text: string, beforeMs: number): Promise<number> {
  let deleted = 0;
  for (let chunk = 0; chunk < MAX_CHUNKS; chunk++) {
    const { rowCount } = await database.query(text, [beforeMs, CHUNK]);
    deleted += rowCount;
    if (rowCount < CHUNK) break;
  }
  return deleted;
}

const OBSERVATIONS = `delete from observations where ctid = any(array(
  select ctid from observations where received_at_ms < $1 limit $2))`;
const SIGNALS = `delete from drift_signals where ctid = any(array(
  select ctid from drift_signals where outcome = 'suppressed' and at_ms < $1 limit $2))`;
const WATCHES = `delete from drift_windows where ctid = any(array(
  select ctid from drift_windows where updated_at_ms < $1 limit $2))`;
