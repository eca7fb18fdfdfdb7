import { InvariantViolation, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { sqlState } from '#lib/postgres/database.ts';

/** SQLSTATE classes that say "not now": connection, rollback (deadlock), resources, operator intervention, system error. */
const UNAVAILABLE_CLASSES = new Set(['08', '40', '53', '57', '58']);

/**
 * What an error of the database means to a caller of the registry: `RegistryUnavailable` when it was not reached or could not
 * serve. Our own errors pass, and so does every other SQLSTATE: a constraint that fires here is a bug.
 */
export function asRegistryFailure(error: unknown): unknown {
  if (error instanceof TrainyardError || error instanceof InvariantViolation) return error;
  if (error instanceof TypeError || error instanceof RangeError) return error;
  const state = sqlState(error);
  if (state !== null && !UNAVAILABLE_CLASSES.has(state.slice(0, 2))) return error;
  return new TrainyardError('RegistryUnavailable', `the model registry's database: ${messageOf(error)}`, {
    cause: error,
  });
}
