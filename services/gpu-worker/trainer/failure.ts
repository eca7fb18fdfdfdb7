import { type ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { TRAINER_EXIT } from '#lib/contracts/trainer-protocol.ts';

/** What the program says and how it exits when it fails. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly exitCode: number;
}

const EXIT_OTHER = 1;

const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  TrainerBadData: TRAINER_EXIT.badData,
  TrainerDataMissing: TRAINER_EXIT.badData,
  TrainerDataTooShort: TRAINER_EXIT.badData,
  TrainerTokenizerMismatch: TRAINER_EXIT.badData,
  TrainerShapeMismatch: TRAINER_EXIT.badData,
  TrainerModelInvalid: TRAINER_EXIT.badData,
  TokenizerInvalid: TRAINER_EXIT.badData,
  TrainerBadConfig: TRAINER_EXIT.badConfig,
  LoraRankTooLarge: TRAINER_EXIT.badConfig,
  SequenceTooLong: TRAINER_EXIT.badConfig,
  EmbeddingNotDivisible: TRAINER_EXIT.badConfig,
  CheckpointMismatch: TRAINER_EXIT.badConfig,
};

/** How the system says that a disk or a quota is full. */
const DISK_FULL = new Set(['ENOSPC', 'EDQUOT']);

/** How V8 and onnxruntime say that an allocation failed; neither has a code of its own for it. */
const OUT_OF_MEMORY = /array buffer allocation failed|invalid typed array length|bad_alloc|failed to allocate memory/i;

/** Classifies anything thrown. Unknown errors are `TrainerFailed`, which is retryable: they may come from the machine. */
export function describeFailure(error: unknown): Failure {
  const known = asTrainyardError(error);
  return {
    code: known.code,
    message: known.message,
    retryable: known.retryable,
    exitCode: EXIT_CODES[known.code] ?? EXIT_OTHER,
  };
}

function asTrainyardError(error: unknown): TrainyardError {
  if (error instanceof TrainyardError) return error;
  const message = messageOf(error);
  const systemCode = systemCodeOf(error);
  if (systemCode !== undefined && DISK_FULL.has(systemCode)) {
    return new TrainyardError('DiskFull', message, { cause: error });
  }
  if (OUT_OF_MEMORY.test(message)) return new TrainyardError('TrainerOutOfMemory', message, { cause: error });
  return new TrainyardError('TrainerFailed', message, { cause: error });
}

/** The `code` of an error of the operating system, such as `ENOENT`. */
export function systemCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Runs a read of a file that must exist; a missing one becomes `TrainerDataMissing` naming the path. */
export async function required<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const code = systemCodeOf(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EISDIR') throw error;
    throw new TrainyardError('TrainerDataMissing', `${path} does not exist`, { cause: error });
  }
}
