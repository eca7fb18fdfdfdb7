import { hash } from 'node:crypto';
import type { PreferenceDataset, PromptDataset } from '#lib/contracts/preference-dataset.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import { DEFAULT_VALIDATION_LIMITS } from './documents/dataset-limits.ts';
import { readPreferenceRow } from './documents/preference-row.ts';
import { encodePreference } from './encode-row.ts';
import { EVALUATION_TOKENS_VERSION, type EvaluationTokens } from './evaluation-tokens.ts';
import { type SplitRow, writeTokenRows } from './row-folder-writer.ts';
import { verifiedLines } from './verified-lines.ts';

/**
 * Turns every row of a file of preferences into the validation split of a folder as `PreferenceDataset` says, in the order of the file; the train
 * split is empty. Repeated pairs are scored as often as they occur. The same file and tokenizer give the same bytes.
 *
 * Throws what `verifiedLines` throws, `DatasetMalformedLine` at the first row that is no pair, `DatasetEmpty`, `DatasetTooLarge` (rows),
 * `TokenizerInvalid`. Uses the CPU for seconds: a service runs it with `writeEvaluationSetInThread`.
 */
export async function writeEvaluationPairs(args: EvaluationTokens): Promise<PreferenceDataset | PromptDataset> {
  const { outDir: dir, tokenizerJson, sourceDigest } = args;
  const dataset = await writeTokenRows({
    dir,
    format: 'trainyard-preferences/1',
    sourceDigest,
    configDigest: hash('sha256', canonicalJson({ purpose: 'evaluation', version: EVALUATION_TOKENS_VERSION })),
    tokenizerJson,
    rows: heldOutRows(args),
  });
  if (dataset.splits.validation.rows === 0) throw new TrainyardError('DatasetEmpty', 'the file holds no pair');
  return dataset;
}

async function* heldOutRows(args: EvaluationTokens): AsyncGenerator<SplitRow> {
  const { path, sourceDigest, limits, signal, onProgress } = args;
  const { maxBytes, maxLineBytes, maxDocuments } = { ...DEFAULT_VALIDATION_LIMITS, ...limits };
  const tokenizer = loadTokenizer(args.tokenizerJson);
  const reading = { path, expectedSha256: sourceDigest, maxBytes, maxLineBytes, signal, onProgress };
  let line = 0;
  let rows = 0;
  for await (const lines of verifiedLines(reading))
    for (const text of lines) {
      line += 1;
      const row = readPreferenceRow(text);
      if (row === null) continue;
      if (!row.ok)
        throw new TrainyardError('DatasetMalformedLine', `line ${line} is no pair: ${row.message}`, {
          fields: [{ pointer: `/lines/${line}`, message: `${row.fault}: ${row.message}` }],
        });
      rows += 1;
      if (rows > maxDocuments) throw new TrainyardError('DatasetTooLarge', `more than ${maxDocuments} pairs`);
      yield { split: 'validation', parts: encodePreference(tokenizer, row.pair) };
    }
}
