import { InvariantViolation, messageOf, TrainyardError } from '#lib/kernel/errors.ts';

/** The members that errors of the AWS SDK have; read by shape, so that the SDK is loaded only where requests are made. */
interface SdkError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string; readonly attempts?: number };
}

/** The server's own code for what went wrong (`NoSuchKey`), else the name of the client's error. */
function s3CodeOf(error: unknown): string {
  const { name } = (error ?? {}) as SdkError;
  return typeof name === 'string' ? name : '';
}

export const statusOf = (error: unknown): number | null =>
  ((error ?? {}) as SdkError).$metadata?.httpStatusCode ?? null;

export const isS3Code = (error: unknown, ...codes: string[]): boolean => codes.includes(s3CodeOf(error));

/** Carries the caller's abort reason past the mapping of errors. */
export class Aborted extends Error {}

/** A HEAD has no body, so the server's code is missing there and the status has to do. */
export const isMissing = (error: unknown): boolean => isS3Code(error, 'NoSuchKey', 'NotFound');

/** The bytes that arrived were not those of the checksum: damaged on the way, or the file changed under the upload. */
const DAMAGED = ['BadDigest', 'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch', 'InvalidDigest'];
export const isDamagedBody = (error: unknown): boolean => isS3Code(error, ...DAMAGED);

/** The key is taken, by an object or (on servers that store in files) by a folder of that name or an object above. */
const TAKEN = ['PreconditionFailed', 'ExistingObjectIsDirectory', 'ObjectParentIsFile', 'XMinioParentIsObject'];
export const isTaken = (error: unknown): boolean => statusOf(error) === 412 || isS3Code(error, ...TAKEN);

/** Another conditional write to the key is under way; the server asks to try again. */
export const isConflict = (error: unknown): boolean =>
  isS3Code(error, 'ConditionalRequestConflict', 'OperationAborted') && statusOf(error) === 409;

/** The upload is over: completed or aborted, by us in an earlier try or by somebody else. */
export const isUploadGone = (error: unknown): boolean => isS3Code(error, 'NoSuchUpload');

/**
 * What an error of the SDK means to the caller of the store. Our own errors and bugs pass; anything else came from the server or
 * the network and is `StoreUnavailable` with the server's reason. The SDK's error is not kept as the cause: a signature error
 * carries the access key id and the canonical request.
 */
export function asStoreFailure(error: unknown, what: string): unknown {
  if (error instanceof TrainyardError || error instanceof InvariantViolation || error instanceof Aborted) return error;
  const s3Code = s3CodeOf(error);
  if (isDamagedBody(error))
    return new TrainyardError('ChecksumMismatch', `${what}: what arrived at the store is not what was to be sent`, {
      details: detailsOf(error),
    });
  return new TrainyardError('StoreUnavailable', `${what}: ${reasonOf(error, s3Code)}`, { details: detailsOf(error) });
}

function detailsOf(error: unknown): Record<string, unknown> {
  const { $metadata, code } = (error ?? {}) as SdkError;
  return {
    s3Code: s3CodeOf(error),
    status: $metadata?.httpStatusCode ?? null,
    requestId: $metadata?.requestId ?? null,
    attempts: $metadata?.attempts ?? null,
    ...(typeof code === 'string' ? { errno: code } : {}),
  };
}

/** Reasons by the server's code, in the words of who has to correct them. */
const REASONS: Readonly<Record<string, string>> = {
  NoSuchBucket: 'the bucket does not exist',
  InvalidAccessKeyId: 'the server does not know the access key',
  InvalidAccessKey: 'the server does not know the access key',
  XAdminUserNotFound: 'the server does not know the access key',
  SignatureDoesNotMatch: 'the secret key is wrong',
  AccessDenied: 'the credentials do not allow this',
  Forbidden: 'the credentials do not allow this',
  ExpiredToken: 'the credentials have expired',
  CredentialsProviderError: 'no credentials were found (environment, profile, web identity, instance role)',
  PermanentRedirect: 'the bucket is in another region than the one given',
  AuthorizationHeaderMalformed: 'the bucket is in another region than the one given',
  SlowDown: 'the server asks to slow down',
  TimeoutError: 'no answer in time',
};

function reasonOf(error: unknown, s3Code: string): string {
  const reason = Object.hasOwn(REASONS, s3Code) ? REASONS[s3Code] : undefined;
  if (reason !== undefined) return `${reason} (${s3Code})`;
  // ECONNREFUSED to a name with several addresses: the message is empty, the code says it.
  const { code } = (error ?? {}) as SdkError;
  const message = messageOf(error);
  if (message === '') return typeof code === 'string' ? code : s3Code;
  return s3Code === '' || s3Code === 'Error' ? message : `${message} (${s3Code})`;
}

/** Our own errors, by what they say about a key. */
export const isAbsent = (error: unknown): boolean => error instanceof TrainyardError && error.code === 'ObjectNotFound';
export const isExists = (error: unknown): boolean => error instanceof TrainyardError && error.code === 'ObjectExists';
