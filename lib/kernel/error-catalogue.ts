/**
 * Every error code Trainyard can show a user, with its cause and its remedy. `docs/errors.md` is compared with this by a test.
 *
 * `class` says what the ledger does when an activity fails with the code: `retryable` tries again under the retry policy,
 * `non_retryable` fails the job at once, `gate` is a policy's no. `http` is the status when a REST call is refused with it.
 */
export interface CatalogueEntry {
  readonly class: 'retryable' | 'non_retryable' | 'gate';
  readonly http?: number;
  readonly cause: string;
  readonly remedy: string;
}

const entry = (failureClass: CatalogueEntry['class'], cause: string, remedy: string, http?: number): CatalogueEntry =>
  http === undefined ? { class: failureClass, cause, remedy } : { class: failureClass, cause, remedy, http };

/** Append to the section of your area; a code never changes its meaning and is never reused. */
export const ERROR_CATALOGUE = {
  // --- requests (gateway) ---
  ValidationFailed: entry(
    'non_retryable',
    'The request does not match its schema.',
    'Correct the fields named in `errors`.',
    422,
  ),
  MalformedJson: entry('non_retryable', 'The body is not valid JSON.', 'Send valid JSON.', 400),
  UnsupportedMediaType: entry(
    'non_retryable',
    'The content type is not supported here.',
    'Use the content type the API document names.',
    415,
  ),
  BodyTooLarge: entry(
    'non_retryable',
    'The body is larger than the limit.',
    'Send less, or upload data as a dataset version.',
    413,
  ),
  Unauthenticated: entry(
    'non_retryable',
    'No API key, or one that is not known.',
    'Send `Authorization: Bearer <key>`.',
    401,
  ),
  Forbidden: entry(
    'non_retryable',
    "The key's role does not allow this.",
    'Ask an admin of the project for a role that does.',
    403,
  ),
  NotFound: entry(
    'non_retryable',
    'Nothing of that name exists, or it belongs to another project.',
    'Check the id and the project of your key.',
    404,
  ),
  IdempotencyConflict: entry(
    'non_retryable',
    'The idempotency key was used before with another body.',
    'Use a new key for a new request.',
    409,
  ),
  StateConflict: entry(
    'non_retryable',
    'The state of the thing does not allow this now.',
    'Read its current state and decide again.',
    409,
  ),
  BudgetExhausted: entry(
    'non_retryable',
    "The job's estimate does not fit the project's GPU-hour budget.",
    'Raise the budget, wait for a running job, or ask for fewer steps.',
    402,
  ),
  JobTypeUnavailable: entry(
    'non_retryable',
    'The job type is known but not available yet.',
    'Use a job type that is available.',
    501,
  ),
  RateLimited: entry('retryable', 'Too many requests with this key.', 'Wait as long as `Retry-After` says.', 429),
  RequestTimeout: entry('retryable', 'The request took longer than the limit.', 'Try again.', 408),
  ServiceUnavailable: entry(
    'retryable',
    'A component this request needs cannot be reached now.',
    'Try again; `/readyz` names the component.',
    503,
  ),
  Internal: entry('retryable', 'A bug. The request was not carried out.', 'Report the request id.', 500),

  // --- orchestrator ---
  ExecutionTimeout: entry(
    'non_retryable',
    "The job ran longer than its type's execution timeout.",
    'Ask for less work, or split the job.',
  ),
  StartToCloseTimeout: entry(
    'retryable',
    'One attempt of an activity ran longer than allowed.',
    'Nothing: it is tried again. If it repeats, ask for less work.',
  ),
  LeaseLost: entry(
    'retryable',
    'The worker of an attempt stopped sending heartbeats.',
    'Nothing: the attempt starts again from its newest valid checkpoint.',
  ),
  LeaseStalled: entry(
    'retryable',
    'The worker is alive but the attempt makes no progress.',
    "Nothing: it is tried again. If it repeats, read the trainer's log.",
  ),
  WorkflowParked: entry(
    'non_retryable',
    'The machine of this job failed in a way that must be looked at.',
    'Read the reason; the job resumes after a fixed release.',
  ),

  // --- bus and contracts ---
  UndecodableMessage: entry(
    'non_retryable',
    'The bytes of a message do not decode with its schema.',
    'Look at the dead letter; correct the producer.',
  ),
  UnknownSchema: entry(
    'non_retryable',
    'The schema of a message is not known.',
    'Register the schema, or correct the producer.',
  ),
  MissingHeader: entry('non_retryable', 'A message lacks a required header.', 'Correct the producer.'),
  MessageTooLarge: entry(
    'non_retryable',
    'A message is larger than 1 MiB.',
    'Put the data in the object store and send its address.',
  ),

  // --- storage ---
  ObjectNotFound: entry('non_retryable', 'The object does not exist.', 'Check the address.'),
  ObjectExists: entry(
    'non_retryable',
    'A conditional create found the key taken by other content.',
    'Use another key: stored objects never change.',
  ),
  ChecksumMismatch: entry(
    'retryable',
    'The bytes read differ from the recorded SHA-256.',
    'Nothing: it is read again. If it repeats, the stored object is damaged.',
  ),
  DiskFull: entry(
    'retryable',
    'The workspace has less room than the files need plus the safety margin.',
    'Free space below the workspace folder.',
  ),
  StoreUnavailable: entry('retryable', 'The object store does not answer.', 'Nothing: it is tried again.'),
  RegistryUnavailable: entry('retryable', 'The model registry does not answer.', 'Nothing: it is tried again.'),

  // --- data (cpu worker) ---

  // --- training (gpu worker, trainer) ---
  TrainerFailed: entry(
    'retryable',
    'The training program ended with an error of its own.',
    'Read the last log lines in the answer.',
  ),
  TrainerResultMissing: entry(
    'non_retryable',
    'The training program ended with exit code 0 but printed no result.',
    'Correct the training program.',
  ),
  TrainerBadData: entry(
    'non_retryable',
    'The training program refused its data (exit code 65).',
    'Read the message it printed.',
  ),
  TrainerBadConfig: entry(
    'non_retryable',
    'The training program refused its spec (exit code 78).',
    'Correct the field it names.',
  ),

  // --- local platform (cli) ---
  PostgresUnavailable: entry(
    'non_retryable',
    'There is no PostgreSQL program this machine can run.',
    'Run `npm ci` with optional dependencies, or set `DATABASE_URL` to a PostgreSQL 15 or newer.',
  ),
  PostgresStartFailed: entry(
    'retryable',
    'The embedded PostgreSQL did not start.',
    'Read the log lines shown, and `logs/postgres.log` below `TRAINYARD_HOME`.',
  ),
  HomeInUse: entry(
    'non_retryable',
    'Another platform runs on the same `TRAINYARD_HOME`.',
    'Stop it, or choose another `TRAINYARD_HOME`.',
  ),
  ServiceNotReady: entry(
    'retryable',
    'A service did not become ready in time.',
    "Read the service's file below `logs/` in `TRAINYARD_HOME`.",
  ),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** True for a code of the catalogue; anything else came from outside and is shown as it is. */
export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CATALOGUE, code);
