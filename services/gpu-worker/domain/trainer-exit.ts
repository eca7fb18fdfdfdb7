import { TRAINER_EXIT, type TrainerMessage } from '#lib/contracts/trainer-protocol.ts';

/** What a training program printed and how it ended. */
export interface TrainerEnd {
  readonly exitCode: number | null;
  /** Name of the signal that ended it, when no exit code was given. */
  readonly signal: string | null;
  readonly result: Extract<TrainerMessage, { type: 'result' }> | null;
  readonly error: Extract<TrainerMessage, { type: 'error' }> | null;
}

export type TrainerVerdict =
  | { readonly kind: 'done'; readonly result: Extract<TrainerMessage, { type: 'result' }> }
  | { readonly kind: 'yielded' }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly retryable: boolean };

/** What the end of a training program means (trainer protocol, exit codes). A program's own `error` line says more than its exit code. */
export function judgeTrainerEnd(end: TrainerEnd): TrainerVerdict {
  const { exitCode, signal, result, error } = end;
  switch (exitCode) {
    case TRAINER_EXIT.done:
      if (result !== null) return { kind: 'done', result };
      return fail('TrainerResultMissing', 'the trainer ended with exit code 0 but printed no result', false);
    case TRAINER_EXIT.yielded:
      return { kind: 'yielded' };
    case TRAINER_EXIT.badData:
      return fail(
        error?.code ?? 'TrainerBadData',
        error?.message ?? 'the trainer refused its data (exit code 65)',
        false,
      );
    case TRAINER_EXIT.badConfig:
      return fail(
        error?.code ?? 'TrainerBadConfig',
        error?.message ?? 'the trainer refused its spec (exit code 78)',
        false,
      );
    case null:
      return fail(
        'TrainerFailed',
        `the trainer was ended by ${signal ?? 'a signal'}, perhaps for lack of memory`,
        true,
      );
    default:
      if (error !== null) return fail(error.code, error.message, error.retryable);
      return fail('TrainerFailed', `the trainer ended with exit code ${exitCode}`, true);
  }
}

const fail = (code: string, message: string, retryable: boolean): TrainerVerdict => ({
  kind: 'failed',
  code,
  message,
  retryable,
});
