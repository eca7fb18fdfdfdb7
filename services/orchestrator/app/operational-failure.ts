import { isConnectionError, sqlState } from '#lib/postgres/database.ts';
import { InvariantViolation, TrainyardError } from '#lib/kernel/errors.ts';

/** SQLSTATE classes that say something about the server or a race, nothing about the data: 08 connection, 40 rollback, 53 resources, 57 operator, 58 system, 55 not in state, 23 another writer. */
const OPERATIONAL_CLASSES = ['08', '40', '53', '55', '57', '58', '23'];

/** True when the same batch may well succeed later; false when its content is at fault. */
export function isOperationalFailure(error: unknown): boolean {
  if (error instanceof InvariantViolation || error instanceof TypeError) return false;
  if (error instanceof TrainyardError) return error.retryable;
  const state = sqlState(error);
  return state === null ? isConnectionError(error) : OPERATIONAL_CLASSES.includes(state.slice(0, 2));
}
