import { TrainyardError } from '#lib/kernel/errors.ts';
import type { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import { readTokenRows, type TokenRows } from '#lib/datasets/row-folder-reader.ts';
import { requireRows } from '../data/preference-pairs.ts';
import { mean, type NamedEstimate } from './estimate.ts';
import { type ScoredRow, scoredRow } from './score-rows.ts';

/** The rows of the held-out pairs: chosen and rejected of pair 0, of pair 1, and so on. */
export type PreferenceRows = readonly ScoredRow[];

/**
 * Reads the validation pairs (at most `maxPairs`, 0 = all). Throws `TrainerTokenizerMismatch` when they were made with another
 * tokenizer than the text the models are scored on, `TrainerDataTooShort` when there are none.
 */
export async function loadPreferenceRows(
  dir: string,
  maxPairs: number,
  tokenizer: TokenizedDataset['tokenizer'],
  length: number,
): Promise<PreferenceRows> {
  const { description, validation } = await readTokenRows(dir, 'trainyard-preferences/1');
  if (description.tokenizer.sha256 !== tokenizer.sha256) {
    throw new TrainyardError('TrainerTokenizerMismatch', `${dir} was made with another tokenizer than dataDir`);
  }
  requireRows(validation, 'validation');
  return rowsOf(validation, maxPairs === 0 ? validation.count : Math.min(maxPairs, validation.count), length);
}

function rowsOf(pairs: TokenRows, count: number, length: number): PreferenceRows {
  return Array.from({ length: count }, (_, pair) => {
    const [prompt = [], ...completions] = pairs.at(pair);
    return completions.map((completion) => scoredRow(prompt, completion, length));
  }).flat();
}

/**
 * Implicit rewards `beta * (log p - log p of the baseline)` of each pair from both models' log-likelihoods of the rows. A pair whose
 * rewards are equal counts as half right: a model that did not move is as good as chance.
 */
export function preferenceEstimates(
  own: readonly number[],
  baseline: readonly number[],
  beta: number,
): NamedEstimate[] {
  const reward = (row: number): number => beta * ((own[row] ?? Number.NaN) - (baseline[row] ?? Number.NaN));
  const margins = Array.from({ length: own.length / 2 }, (_, pair) => reward(2 * pair) - reward(2 * pair + 1));
  const accuracy = mean(margins.map((margin) => (margin > 0 ? 1 : margin === 0 ? 0.5 : 0)));
  return [
    { name: 'preference.accuracy', higherIsBetter: true, estimate: accuracy },
    { name: 'preference.margin', higherIsBetter: true, estimate: mean(margins) },
  ];
}
