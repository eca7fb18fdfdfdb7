import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { sqlState } from '#lib/postgres/database.ts';
import { type Problem, problemOf } from '../../domain/problem.ts';

export const PROBLEM_TYPE = 'application/problem+json';

/** Sends anything that was thrown as a problem document; a stack goes to the log and never outward. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = operatingFailure(error);
  const problem = problemDocument(known, request);
  if (problem.status >= 500)
    request.log.error({ err: error, requestId: request.id, route: request.routeOptions.url }, 'request failed');
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer realm="trainyard"');
  if (problem.status === 503 && !reply.hasHeader('retry-after')) void reply.header('retry-after', '1');
  return reply.code(problem.status).type(PROBLEM_TYPE).send(problem);
}

function problemDocument(error: TrainyardError, request: FastifyRequest): Problem {
  const { code, message: detail, fields, details } = error;
  const instance = (request.url.split('?')[0] ?? '/').slice(0, 500);
  return problemOf({ code, detail, fields, details, instance, requestId: request.id });
}

/** What Fastify says, in our codes. */
const FASTIFY: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['BodyTooLarge', 'the body is larger than the limit'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['UnsupportedMediaType', 'the content type is not supported here'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['MalformedJson', 'the body is not as long as Content-Length says'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['MalformedJson', 'the body is empty'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['MalformedJson', 'the body is not valid JSON'],
  FST_ERR_HANDLER_TIMEOUT: ['RequestTimeout', 'the request took longer than the limit'],
  FST_ERR_BAD_URL: ['NotFound', 'the path cannot be read'],
  FST_ERR_MAX_PARAM_LENGTH: ['NotFound', 'a part of the path is longer than any id'],
};

/** Failures of a component behind us that pass by themselves: the client may try again. */
const UNAVAILABLE: readonly ErrorCode[] = ['StoreUnavailable', 'RegistryUnavailable', 'DiskFull'];

function operatingFailure(error: unknown): TrainyardError {
  if (error instanceof TrainyardError)
    return UNAVAILABLE.includes(error.code)
      ? new TrainyardError('ServiceUnavailable', error.message, { cause: error })
      : error;
  const { code } = (error ?? {}) as Partial<FastifyError>;
  const [ours, detail] = FASTIFY[code ?? ''] ?? [];
  if (ours !== undefined && detail !== undefined) return new TrainyardError(ours, detail, { cause: error });
  if (databaseIsAway(error))
    return new TrainyardError('ServiceUnavailable', 'the database cannot be reached', { cause: error });
  // Class 22, data exception: a NUL or a lone surrogate in a text, which JSON can carry and PostgreSQL cannot.
  if (sqlState(error)?.startsWith('22'))
    return new TrainyardError('ValidationFailed', 'a text holds a character that cannot be stored', { cause: error });
  return new TrainyardError('Internal', 'internal error', { cause: error });
}

/** Classes 08 (connection), 53 (resources), 57P (shutdown) of SQLSTATE, and what node-postgres says without one. */
function databaseIsAway(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== null) return /^(08|53|57P)/.test(state);
  if (!(error instanceof Error)) return false;
  if ((error as NodeJS.ErrnoException).syscall === 'connect') return true;
  return /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/.test(
    error.message,
  );
}
