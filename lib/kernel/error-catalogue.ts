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

  // --- data (cpu worker) ---
  DatasetMissing: entry(
    'non_retryable',
    'The file of the dataset version does not exist or cannot be read.',
    'Upload the dataset again.',
  ),
  DatasetDigestMismatch: entry(
    'non_retryable',
    'The bytes of the dataset differ from the SHA-256 recorded at its upload.',
    'Upload the dataset again as a new version.',
  ),
  DatasetTooLarge: entry(
    'non_retryable',
    'The dataset, one of its lines, or its number of documents is larger than the limit.',
    'Split the dataset, or break the long line into documents.',
  ),
  DatasetFormatUnfit: entry(
    'non_retryable',
    'The dataset has a format that this kind of job cannot use.',
    'Use a dataset of the format that the job type asks for.',
  ),
  DatasetEmpty: entry('non_retryable', 'The dataset holds no document, or only white space.', 'Upload data with text.'),
  DatasetTooSmall: entry(
    'non_retryable',
    'The dataset holds fewer documents or characters than training needs.',
    'Add documents.',
  ),
  DatasetBinary: entry(
    'non_retryable',
    'The dataset is not text: it is compressed, an archive, UTF-16, or another binary format.',
    'Unpack it, and save it as UTF-8 text or JSON Lines.',
  ),
  DatasetInvalidUtf8: entry(
    'non_retryable',
    'The dataset holds bytes that are not UTF-8.',
    'Save it as UTF-8; the message names the first line that is not.',
  ),
  DatasetDuplicateOnly: entry(
    'non_retryable',
    'Every document of the dataset is the same.',
    'Upload documents that differ.',
  ),
  DatasetMalformedLine: entry(
    'non_retryable',
    'A line is not what the format of the dataset says.',
    'Correct the lines listed in the `logTail` of the job (the first 50), or upload with the right format.',
  ),
  DatasetNothingKept: entry(
    'non_retryable',
    'Duplicate removal and the length filter left no document.',
    'Lower `minCharacters`, raise `nearDuplicateThreshold`, or add documents.',
  ),
  DatasetSplitEmpty: entry(
    'non_retryable',
    'The split by hash left the train or the validation split without a document.',
    'Add documents, change `validationFraction`, or choose another `seed`.',
  ),
  PreferenceDataInvalid: entry(
    'non_retryable',
    'Rows of the preferences are malformed, empty, equal, duplicates, swapped, or conversations in a wrong order.',
    'Correct the rows that the message numbers by kind; the first of each are explained in the `logTail` of the job.',
  ),
  TokenizerInvalid: entry(
    'non_retryable',
    'The `tokenizer.json` of the base model is not a complete byte-level BPE.',
    'Use a base model with a GPT-2 style tokenizer of at most 65,536 tokens.',
  ),

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
  NonFiniteLoss: entry(
    'non_retryable',
    'The loss or a gradient became infinite or not a number.',
    'Lower the learning rate, switch gradient clipping on, or start from other weights.',
  ),
  TrainerDataMissing: entry(
    'non_retryable',
    'A file that the data folder or the model folder must hold does not exist.',
    'Prepare the data again, or name a complete folder.',
  ),
  TrainerDataTooShort: entry(
    'non_retryable',
    'A split holds fewer tokens than one training sequence, or no token that counts in the loss.',
    'Add data, or ask for a shorter sequence.',
  ),
  TrainerTokenizerMismatch: entry(
    'non_retryable',
    'The data were tokenized with another tokenizer than the base model has.',
    "Prepare the data with the base model's tokenizer.",
  ),
  TrainerShapeMismatch: entry(
    'non_retryable',
    'A tensor of the model or adapter is missing, or its shape is not what its configuration says.',
    'Export the model or adapter again.',
  ),
  TrainerModelInvalid: entry(
    'non_retryable',
    'A model or adapter file is damaged, or of a kind the built-in trainer does not run.',
    'Name a GPT-2 shaped model with 32-bit weights, or use the Hugging Face trainer.',
  ),
  TrainerOutOfMemory: entry(
    'non_retryable',
    'Training needs more memory than the limit or the machine has.',
    'Lower batch size, sequence length or model size, or raise the memory limit.',
  ),
  EvaluationSubjectInvalid: entry(
    'non_retryable',
    'What is to be evaluated is not a folder of a whole model: it lacks weights, configuration or tokenizer.',
    'Name a registered version, or the manifest of a whole model; an adapter is evaluated together with the model it lies on.',
  ),
  TokenizersDiffer: entry(
    'non_retryable',
    'Models that are to be compared have different tokenizers, so they cannot be scored on the same items.',
    'Compare models of one tokenizer; evaluate the others for themselves and compare their bits per byte.',
  ),
  LoraRankTooLarge: entry(
    'non_retryable',
    'The LoRA rank is larger than the narrower side of a target layer.',
    'Lower `lora.r`.',
  ),
  SequenceTooLong: entry(
    'non_retryable',
    "`sequenceLength` is larger than the model's context length.",
    'Lower `sequenceLength`, or use a model with a longer context.',
  ),
  EmbeddingNotDivisible: entry(
    'non_retryable',
    '`embeddingSize` is not divisible by `heads`.',
    'Choose `embeddingSize` as a multiple of `heads`.',
  ),
  CheckpointDamaged: entry(
    'retryable',
    'A file of the checkpoint to resume from is missing or differs from its recorded SHA-256.',
    'Nothing: drop that checkpoint and resume from an older one, or from the start.',
  ),
  CheckpointMismatch: entry(
    'non_retryable',
    'The checkpoint to resume from belongs to another configuration, base or data.',
    'Resume with the spec the checkpoint was made with, or start anew.',
  ),

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
