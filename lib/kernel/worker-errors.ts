import { type CatalogueEntry, entry } from './catalogue-entry.ts';

/** What activities fail with; part of the catalogue. */
export const WORKER_ERRORS = {
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
  TooFewTrainingRows: entry(
    'non_retryable',
    'A retrain has fewer rows left than it asks for, once rows of excluded sets and, for `incremental`, known rows are taken out.',
    'Add data, lower `data.minimumRows`, exclude less, or use `data.mode` `full`.',
  ),
  TrainingDataUnknown: entry(
    'non_retryable',
    'An incremental retrain cannot find out what the version in production was trained on: it has neither a row manifest nor a dataset file in its tags.',
    'Use `data.mode` `full` once; the new version has a row manifest.',
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
} as const satisfies Record<string, CatalogueEntry>;
