import { TrainyardError } from '#lib/kernel/errors.ts';
import { MlflowRefusal } from './mlflow-client.ts';
import { asRegistryFailure } from './postgres-failure.ts';

export const EXISTS = 'RESOURCE_ALREADY_EXISTS';
export const ABSENT = 'RESOURCE_DOES_NOT_EXIST';
/** The request breaks one of MLflow's rules; the same request always will. */
export const INVALID = 'INVALID_PARAMETER_VALUE';

export const isRefusal = (error: unknown, errorCode: string): boolean =>
  error instanceof MlflowRefusal && error.errorCode === errorCode;

/** The value, or null when MLflow says that the thing does not exist. */
export async function orAbsent<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isRefusal(error, ABSENT)) return null;
    throw error;
  }
}

/** What an error means to a caller of the registry: MLflow's refusals and the database's failures as errors of the catalogue. */
export function asMlflowFailure(error: unknown): unknown {
  if (!(error instanceof MlflowRefusal)) return asRegistryFailure(error);
  const { errorCode, message } = error;
  switch (errorCode) {
    case INVALID:
      return new TrainyardError('ValidationFailed', message, { cause: error });
    case ABSENT:
    case EXISTS:
    case 'INVALID_STATE':
      // Somebody changed or removed by hand what our tables know to be there.
      return new TrainyardError('StateConflict', message, { cause: error });
    default:
      return new TrainyardError('RegistryUnavailable', message, { cause: error });
  }
}
