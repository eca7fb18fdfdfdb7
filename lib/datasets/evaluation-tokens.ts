import { hash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import { DEFAULT_VALIDATION_LIMITS } from './documents/dataset-limits.ts';
import { prepareDocument } from './documents/prepared-document.ts';
import { encodeDocument, isMasked } from './encode-document.ts';
import { type DatasetFile, readDocuments } from './read-documents.ts';
import { TokenShardWriter, writeDatasetFile } from './token-shards.ts';

/** Goes into `configDigest` and into the key of a stored folder: raise it when the same input gives other bytes. */
export const EVALUATION_TOKENS_VERSION = 1;

export interface EvaluationTokens extends DatasetFile {
  /** An empty or new folder for the result. */
  readonly outDir: string;
  readonly tokenizerJson: string;
}

/**
 * Turns every document of a dataset file into the validation split of a folder as `TokenizedDataset` says; the train split is empty. An
 * evaluation set is scored as it is: normalised as training data are, but nothing is dropped, cut or held back (documents without text
 * apart, which have nothing to score). Same bytes, format and tokenizer give the same files.
 *
 * Throws what `readDocuments` throws, `DatasetEmpty`, `DatasetTooLarge` (documents), `TokenizerInvalid`. Uses the CPU for seconds: a service
 * runs it with `writeEvaluationSetInThread`.
 */
export async function writeEvaluationTokens(args: EvaluationTokens): Promise<TokenizedDataset> {
  const { outDir, tokenizerJson, ...file } = args;
  const tokenizer = loadTokenizer(tokenizerJson);
  await mkdir(outDir, { recursive: true });
  const masked = isMasked(file.format);
  const train = new TokenShardWriter(outDir, 'train', masked);
  const validation = new TokenShardWriter(outDir, 'validation', masked);
  const maxDocuments = file.limits?.maxDocuments ?? DEFAULT_VALIDATION_LIMITS.maxDocuments;
  let documents = 0;
  await readDocuments(file, (source) => {
    const document = prepareDocument(source, {});
    if (document.text === '') return;
    documents += 1;
    if (documents > maxDocuments) throw new TrainyardError('DatasetTooLarge', `more than ${maxDocuments} documents`);
    const { tokens, promptTokens } = encodeDocument(document, tokenizer);
    validation.add(tokens, promptTokens, Buffer.byteLength(document.prompt) + Buffer.byteLength(document.text));
  });
  if (documents === 0) throw new TrainyardError('DatasetEmpty', 'the evaluation set holds no document with text');
  const splits = { train: train.close(), validation: validation.close() };
  const written = writeDatasetFile(outDir, 'tokenizer.json', tokenizerJson);
  const dataset: TokenizedDataset = {
    format: 'trainyard-tokens/1',
    sourceDigest: file.sourceDigest,
    configDigest: hash('sha256', canonicalJson({ purpose: 'evaluation', version: EVALUATION_TOKENS_VERSION })),
    tokenizer: {
      vocabularySize: tokenizer.vocabularySize,
      endOfTextId: tokenizer.endOfTextId,
      sha256: written.sha256,
    },
    masked,
    splits,
  };
  writeDatasetFile(outDir, 'dataset.json', `${JSON.stringify(dataset, null, 2)}\n`);
  return dataset;
}
