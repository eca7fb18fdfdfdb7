import { ERROR_CATALOGUE, type ErrorCode } from './error-catalogue.ts';

/** A JSON pointer (RFC 6901) into the input and what is wrong there. */
export interface FieldError {
  readonly pointer: string;
  readonly message: string;
}

/**
 * An operating failure: something outside went wrong in a way the catalogue knows. `retryable` follows the catalogue;
 * `details` holds ids and numbers for people and logs, never secrets.
 */
export class TrainyardError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly fields: readonly FieldError[];

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Record<string, unknown>; fields?: readonly FieldError[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TrainyardError';
    this.code = code;
    this.details = options.details ?? {};
    this.fields = options.fields ?? [];
  }

  get retryable(): boolean {
    return ERROR_CATALOGUE[this.code].class === 'retryable';
  }
}

/** A bug: crashes the unit of work it happens in, never handled as an operating failure. */
export class InvariantViolation extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InvariantViolation';
  }
}

/** Throws `InvariantViolation` unless the condition holds. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantViolation(message);
}

/** For the default branch of a `switch` over a closed union: a new variant does not compile until handled. */
export function assertNever(value: never): never {
  throw new InvariantViolation(`unhandled variant: ${JSON.stringify(value)}`);
}

/** The message of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
