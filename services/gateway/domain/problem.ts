import { ERROR_CATALOGUE, type ErrorCode } from '#lib/kernel/error-catalogue.ts';
import type { FieldError } from '#lib/kernel/errors.ts';

/** RFC 9457. Members beyond these are numbers and ids that the error carries. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly instance: string;
  readonly requestId: string;
  readonly errors?: readonly FieldError[];
  readonly [extension: string]: unknown;
}

/** The one mapping from an error code to an HTTP status: the catalogue's; a code that names none is not meant for users. */
function statusOf(code: ErrorCode): number {
  const { http } = ERROR_CATALOGUE[code] as { http?: number };
  return http ?? 500;
}

/** The body of a refusal. `details` holds ids and numbers that a program may need, e.g. those of a budget. */
export function problemOf(options: {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly instance: string;
  readonly requestId: string;
  readonly fields?: readonly FieldError[];
  readonly details?: Readonly<Record<string, unknown>>;
}): Problem {
  // A failure inside that has no status of its own is nothing a client can act on.
  const known = 'http' in ERROR_CATALOGUE[options.code];
  const code: ErrorCode = known ? options.code : 'Internal';
  return {
    ...(known ? options.details : {}),
    type: `/errors/${code}`,
    title: ERROR_CATALOGUE[code].cause,
    status: statusOf(code),
    detail: known ? options.detail : ERROR_CATALOGUE.Internal.cause,
    code,
    instance: options.instance,
    requestId: options.requestId,
    ...(options.fields === undefined || options.fields.length === 0 ? {} : { errors: options.fields }),
  };
}
