import { hash } from 'node:crypto';
import { join } from 'node:path';
import type { PreferenceDataset, PromptDataset, TokenRowFormat } from '#lib/contracts/preference-dataset.ts';
import { encodePreference, encodePrompt } from '#lib/datasets/encode-row.ts';
import { type SplitRow, writeTokenRows } from '#lib/datasets/row-folder-writer.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import type { InspectedPair } from '../domain/preference-inspection.ts';
import { readPreferenceRow } from '#lib/datasets/documents/preference-row.ts';
import { DEFAULT_VALIDATION_LIMITS } from '#lib/datasets/documents/dataset-limits.ts';
import { type InspectPreferenceFile, inspectPreferenceFile } from './inspect-preference-file.ts';
import type { PreprocessProgress } from './preprocess-dataset-file.ts';
import { verifiedLines } from '#lib/datasets/verified-lines.ts';

export interface PreprocessPreferenceFile extends Omit<InspectPreferenceFile, 'onProgress'> {
  /** The folders `pairs` and `prompts` are written below it. */
  readonly outDir: string;
  /** `tokenizer.json` of the base model. */
  readonly baseTokenizerJson: string;
  readonly onProgress?: ((progress: PreprocessProgress) => void) | undefined;
}

/**
 * Turns a file of preferences into the folders `pairs` (`PreferenceDataset`) and `prompts` (`PromptDataset`: every prompt once), in the order of
 * the file, both with the tokenizer of the base. The same file, configuration and tokenizer give the same bytes. Reads the file three times
 * instead of keeping its text. Throws what `inspectPreferenceFile` throws, and `TokenizerInvalid`. Uses the CPU for seconds: run it in a thread.
 */
export async function preprocessPreferenceFile(
  args: PreprocessPreferenceFile,
): Promise<{ pairs: PreferenceDataset | PromptDataset; prompts: PreferenceDataset | PromptDataset }> {
  const tokenizer = loadTokenizer(args.baseTokenizerJson);
  const plan: RowPlan[] = [];
  const { path, sourceDigest, config, signal } = args;
  await inspectPreferenceFile(
    {
      path,
      sourceDigest,
      config,
      signal,
      onProgress: (done, total) => args.onProgress?.({ phase: 'select', done, total }),
    },
    (pair) => plan.push(planOf(pair)),
  );
  const write = (name: string, format: TokenRowFormat, partsOf: PartsOf): Promise<PreferenceDataset | PromptDataset> =>
    writeTokenRows({
      dir: join(args.outDir, name),
      format,
      sourceDigest,
      configDigest: hash('sha256', canonicalJson(config)),
      tokenizerJson: args.baseTokenizerJson,
      rows: plannedRows(args, plan, partsOf),
    });
  return {
    pairs: await write('pairs', 'trainyard-preferences/1', (pair) => encodePreference(tokenizer, pair)),
    prompts: await write('prompts', 'trainyard-prompts/1', ({ prompt }, isFirst) =>
      isFirst ? [encodePrompt(tokenizer, prompt)] : null,
    ),
  };
}

/** Split and whether the pair is its prompt's first, in one small integer: a million of them are kept. */
type RowPlan = number;
const VALIDATION = 1;
const FIRST_OF_PROMPT = 2;

const planOf = ({ split, isFirstOfPrompt }: InspectedPair): RowPlan =>
  (split === 'validation' ? VALIDATION : 0) + (isFirstOfPrompt ? FIRST_OF_PROMPT : 0);

/** The token ids of a row; null = the row is not part of this folder. */
type PartsOf = (pair: InspectedPair['pair'], isFirstOfPrompt: boolean) => readonly Uint16Array[] | null;

async function* plannedRows(
  { path, sourceDigest, signal, onProgress }: PreprocessPreferenceFile,
  plan: readonly RowPlan[],
  partsOf: PartsOf,
): AsyncGenerator<SplitRow> {
  const { maxBytes, maxLineBytes } = DEFAULT_VALIDATION_LIMITS;
  const report = (done: number, total: number): void => onProgress?.({ phase: 'tokenize', done, total });
  let at = 0;
  for await (const lines of verifiedLines({
    path,
    expectedSha256: sourceDigest,
    maxBytes,
    maxLineBytes,
    signal,
    onProgress: report,
  }))
    for (const line of lines) {
      const row = readPreferenceRow(line);
      if (row === null || !row.ok) continue;
      const planned = plan[at++] ?? 0;
      const parts = partsOf(row.pair, (planned & FIRST_OF_PROMPT) !== 0);
      if (parts !== null) yield { split: (planned & VALIDATION) === 0 ? 'train' : 'validation', parts };
    }
}
