import { hash } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import type { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { DEFAULT_VALIDATION_LIMITS } from '#lib/datasets/documents/dataset-limits.ts';
import { type PreparedDocument, prepareDocument } from '#lib/datasets/documents/prepared-document.ts';
import { encodeDocument, isMasked } from '#lib/datasets/encode-document.ts';
import { type DatasetFile, readDocuments } from '#lib/datasets/read-documents.ts';
import { TokenShardWriter, type WrittenFile, writeDatasetFile } from '#lib/datasets/token-shards.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { type BpeTrainer, bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { loadTokenizer, type Tokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';
import { documentSelection, FATE, type Fate } from '../domain/preprocessing.ts';

/** Characters of the train split the tokenizer learns from, from its beginning: more change the merges little and cost memory. */
const TOKENIZER_SAMPLE_CHARACTERS = 64 * 1_024 * 1_024;

/** A file that passed `validateDatasetFile`, and what to make of it. */
export interface PreprocessDatasetFile extends Omit<DatasetFile, 'onProgress'> {
  /** Folder for the result; made if absent, files of an earlier attempt in it are removed. */
  readonly outDir: string;
  readonly config: PreprocessConfig;
  /** `tokenizer.json` of the base model; absent = a tokenizer is trained on the train split. */
  readonly baseTokenizerJson?: string | undefined;
  readonly onProgress?: ((progress: PreprocessProgress) => void) | undefined;
}

export interface PreprocessProgress {
  readonly phase: 'select' | 'tokenizer' | 'tokenize';
  /** Bytes of the file read in this phase. */
  readonly done: number;
  readonly total: number;
}

/** Documents by fate; `in` is their sum, `cut` counts those of any fate that `maxCharacters` shortened. */
type PreprocessCounts = Readonly<Record<'in' | 'cut' | Fate, number>>;

export interface PreprocessedDataset {
  readonly dataset: TokenizedDataset;
  /** Everything written, `dataset.json` and `tokenizer.json` included, sorted by path. */
  readonly files: readonly WrittenFile[];
  readonly counts: PreprocessCounts;
}

/**
 * Turns a dataset file into token shards, `tokenizer.json` and, written last, `dataset.json` (contract: `TokenizedDataset`).
 * Same bytes, format, configuration and base tokenizer give the same files, byte for byte. Reads the file twice instead of
 * keeping its text: memory is about 1 kB per document plus two open shards. Idempotent.
 *
 * Throws TrainyardError: what `readVerifiedLines` throws, `DatasetMalformedLine`, `DatasetTooLarge` (documents),
 * `DatasetNothingKept`, `DatasetSplitEmpty`, `TokenizerInvalid`; I/O errors of the folder pass unchanged.
 * Uses the CPU for seconds: a service runs it with `runPreprocessInThread`.
 */
export async function preprocessDatasetFile(args: PreprocessDatasetFile): Promise<PreprocessedDataset> {
  // 1. Decide every document's fate; learn words for the tokenizer on the way.
  const given = args.baseTokenizerJson;
  const baseTokenizer = given === undefined ? null : loadTokenizer(given);
  const { fates, counts, words } = await selectDocuments(args, given === undefined);
  requireBothSplits(counts);
  // 2. The tokenizer.
  args.onProgress?.({ phase: 'tokenizer', done: 0, total: 1 });
  const json = given ?? tokenizerJson(words.train(args.config.vocabularySize));
  const tokenizer = baseTokenizer ?? loadTokenizer(json);
  // 3. Encode the kept documents.
  await clearFolder(args.outDir);
  const tokenizerFile = writeDatasetFile(args.outDir, 'tokenizer.json', json);
  const { splits, files } = await writeTokens(args, fates, tokenizer);
  const dataset: TokenizedDataset = {
    format: 'trainyard-tokens/1',
    sourceDigest: args.sourceDigest,
    configDigest: hash('sha256', canonicalJson(args.config)),
    tokenizer: {
      vocabularySize: tokenizer.vocabularySize,
      endOfTextId: tokenizer.endOfTextId,
      sha256: tokenizerFile.sha256,
    },
    masked: isMasked(args.format),
    splits,
  };
  const described = writeDatasetFile(args.outDir, 'dataset.json', `${JSON.stringify(dataset, null, 2)}\n`);
  const all = [...files, tokenizerFile, described].sort((a, b) => (a.path < b.path ? -1 : 1));
  return { dataset, files: all, counts };
}

async function selectDocuments(
  args: PreprocessDatasetFile,
  learnWords: boolean,
): Promise<{ fates: readonly Fate[]; counts: PreprocessCounts; words: BpeTrainer }> {
  const selection = documentSelection(args.config, (text) => hash('sha256', text));
  const words = bpeTrainer();
  const fates: Fate[] = [];
  const counts: Record<'in' | 'cut' | Fate, number> = {
    in: 0,
    exactDuplicates: 0,
    nearDuplicates: 0,
    tooShort: 0,
    tooLong: 0,
    cut: 0,
    train: 0,
    validation: 0,
  };
  const { maxDocuments } = { ...DEFAULT_VALIDATION_LIMITS, ...args.limits };
  let sampled = 0;
  await readPrepared(args, 'select', (document) => {
    const fate = selection.decide(document);
    fates.push(fate);
    counts.in += 1;
    counts[fate] += 1;
    if (document.cut) counts.cut += 1;
    if (counts.in > maxDocuments) throw new TrainyardError('DatasetTooLarge', `more than ${maxDocuments} documents`);
    if (fate !== FATE.train || !learnWords || sampled >= TOKENIZER_SAMPLE_CHARACTERS) return;
    sampled += document.prompt.length + document.text.length;
    words.add(document.prompt);
    words.add(document.text);
  });
  return { fates, counts, words };
}

function requireBothSplits(counts: PreprocessCounts): void {
  const details = { counts };
  if (counts.train + counts.validation === 0)
    throw new TrainyardError('DatasetNothingKept', `none of ${counts.in} documents is kept`, { details });
  if (counts.train === 0 || counts.validation === 0)
    throw new TrainyardError(
      'DatasetSplitEmpty',
      `of ${counts.train + counts.validation} documents ${counts.train} are for training and ${counts.validation} for validation`,
      { details },
    );
}

/** Gives every document, prepared, in file order. */
function readPrepared(
  { config, onProgress, ...file }: PreprocessDatasetFile,
  phase: PreprocessProgress['phase'],
  onDocument: (document: PreparedDocument) => void,
): Promise<void> {
  return readDocuments({ ...file, onProgress: (done, total) => onProgress?.({ phase, done, total }) }, (document) => {
    onDocument(prepareDocument(document, config));
  });
}

async function writeTokens(
  args: PreprocessDatasetFile,
  fates: readonly Fate[],
  tokenizer: Tokenizer,
): Promise<{ splits: TokenizedDataset['splits']; files: readonly WrittenFile[] }> {
  const masked = isMasked(args.format);
  const writers = {
    train: new TokenShardWriter(args.outDir, FATE.train, masked),
    validation: new TokenShardWriter(args.outDir, FATE.validation, masked),
  };
  let index = 0;
  await readPrepared(args, 'tokenize', (document) => {
    const fate = fates[index++];
    if (fate !== FATE.train && fate !== FATE.validation) return;
    const { tokens, promptTokens } = encodeDocument(document, tokenizer);
    writers[fate].add(tokens, promptTokens, Buffer.byteLength(document.prompt) + Buffer.byteLength(document.text));
  });
  const splits = { train: writers.train.close(), validation: writers.validation.close() };
  return { splits, files: [...writers.train.files, ...writers.validation.files] };
}

/** Names this module writes; anything else in the folder is not ours to remove. */
const OWN_FILE = /^(?:dataset\.json|tokenizer\.json|(?:train|validation)-\d{5}(?:\.mask)?\.bin)$/;

async function clearFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) if (OWN_FILE.test(name)) await rm(join(folder, name));
}
