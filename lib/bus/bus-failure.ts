import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { FENCED, isConnectionError, sqlState } from '#lib/postgres/database.ts';
import { PartitionLostError, type TopicPartition } from './port.ts';

/** Not the statement's fault: connection lost, server stopping or starting, too many sessions, deadlock, serialisation failure. */
const TRANSIENT = /^(08|57P|53|40)/;

/**
 * What a caller of the bus sees for an error of the database: `ServiceUnavailable` when trying again later can help,
 * `PartitionLostError` for a fenced commit, otherwise the error itself (a bug).
 */
export function asBusFailure(error: unknown): unknown {
  if (error instanceof TrainyardError || error instanceof PartitionLostError) return error;
  const state = sqlState(error);
  if (state === FENCED) return new PartitionLostError(lostPartitions(error));
  // node-postgres reports broken and refused connections as plain errors without SQLSTATE; a TypeError or RangeError is a bug.
  const transient = state === null ? isConnectionError(error) : TRANSIENT.test(state);
  if (!transient) return error;
  return new TrainyardError('ServiceUnavailable', `the bus cannot be reached: ${messageOf(error)}`, { cause: error });
}

/** True for what a waiting `poll` survives. */
export const isUnavailable = (error: unknown): boolean =>
  error instanceof TrainyardError && error.code === 'ServiceUnavailable';

function lostPartitions(error: unknown): TopicPartition[] {
  const detail = (error as { detail?: unknown }).detail;
  const pairs = JSON.parse(typeof detail === 'string' ? detail : '[]') as [string, number][];
  return pairs.map(([topic, partition]) => ({ topic, partition }));
}
