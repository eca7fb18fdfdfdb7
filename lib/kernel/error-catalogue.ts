import { type CatalogueEntry, entry } from './catalogue-entry.ts';
import { WORKER_ERRORS } from './worker-errors.ts';

/**
 * Every error code Trainyard can show a user, with its cause and its remedy. `docs/errors.md` is compared with this by a test.
 * Append to the section of your area; a code never changes its meaning and is never reused.
 */
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
  NothingToRollBackTo: entry(
    'non_retryable',
    'No version of the model was in prod before the present one.',
    'Promote a version of your choice, or read the ledger at /v1/models/{name}/promotions.',
    409,
  ),
  SafetyGateFailed: entry(
    'gate',
    'The version did not pass its safety gate: nobody can bring it into a stage that serves.',
    'Train another version; the gate knows no exception.',
    409,
  ),
  InferenceUnavailable: entry(
    'retryable',
    'No inference server answers, or it has more requests than it takes.',
    'Try again; look at the GPU worker and at INFERENCE_URL.',
    503,
  ),
  InferenceFailed: entry(
    'non_retryable',
    'The model version cannot be loaded or run.',
    'Read the detail; roll the model back to a version that answers.',
    502,
  ),
  BudgetExhausted: entry(
    'non_retryable',
    "The job's estimate does not fit the project's GPU-hour budget.",
    'Raise the budget, wait for a running job, or ask for fewer steps.',
    402,
  ),
  ApprovalBySubmitter: entry(
    'non_retryable',
    'Whoever submitted a job does not decide about it.',
    'Ask another approver.',
    403,
  ),
  ApprovalAlreadyVoted: entry(
    'non_retryable',
    'The key has voted before, and differently.',
    'Nothing: a vote that was cast stays.',
    409,
  ),
  ApprovalClosed: entry(
    'non_retryable',
    'The ticket is decided, expired or cancelled.',
    'Read the ticket; a new job makes a new one.',
    409,
  ),
  ApprovalDigestMismatch: entry(
    'non_retryable',
    "The digest of the vote is not the ticket's: the vote is about something else.",
    'Read the ticket again, and vote with its digest.',
    409,
  ),
  ApprovalVoided: entry(
    'non_retryable',
    'The version, or a report about it, has changed since the ticket was opened.',
    'Look at the new report; release the version with a new job.',
    409,
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

  ChildFailed: entry(
    'non_retryable',
    'A job that this one started and waited for did not complete.',
    'Look at the child: GET /v1/jobs?parent={id}.',
  ),
  MetricNeverReported: entry(
    'non_retryable',
    'No trial of the search reported the metric that it is to optimise.',
    'Name a metric that the trainer reports, or let it evaluate more often.',
  ),
  NoTrialCompleted: entry(
    'non_retryable',
    'No trial of the search came to its end with a value.',
    'Look at the trials: GET /v1/jobs/{id}/trials says why each ended.',
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
  ManifestInvalid: entry(
    'non_retryable',
    'A manifest is not in our format, or it names a path outside its folder.',
    'Correct the program that wrote the manifest, or use another one.',
  ),
  WorkspaceUnavailable: entry(
    'retryable',
    'A file or folder of the workspace cannot be read or written.',
    'Nothing: it is tried again. If it repeats, look at the workspace folder and its permissions.',
  ),

  ...WORKER_ERRORS,

  SchemaIncompatible: entry(
    'non_retryable',
    'A message of this release breaks the compatibility rule of its subject in the schema registry.',
    'Deploy nothing: change the schema so that the named fields have defaults, or the reader knows both forms.',
  ),

  // --- local platform (cli) ---
  PostgresUnavailable: entry(
    'non_retryable',
    'There is no PostgreSQL program this machine can run.',
    'Run `npm ci` with optional dependencies, or give `--database-url` of a PostgreSQL 15 or newer.',
  ),
  PostgresStartFailed: entry(
    'retryable',
    'The embedded PostgreSQL did not start.',
    'Read the log lines shown, and `logs/postgres.log` below `TRAINYARD_HOME`.',
  ),
  DatabaseIncompatible: entry(
    'non_retryable',
    'The database was made by a newer or another release.',
    'Use the release that made it, or another `TRAINYARD_HOME`.',
  ),
  HomeInUse: entry(
    'non_retryable',
    'Another platform runs on the same `TRAINYARD_HOME`.',
    'Stop it, or choose another `TRAINYARD_HOME`.',
  ),
  PortInUse: entry(
    'non_retryable',
    'Another program listens on the port of the gateway.',
    'Stop it, or choose another `GATEWAY_PORT`.',
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
