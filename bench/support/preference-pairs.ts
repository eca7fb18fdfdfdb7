import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { encodePreference, encodePrompt, type PreferenceText } from '#lib/datasets/encode-row.ts';
import { type SplitName, splitOfPrompt } from '#lib/datasets/prompt-split.ts';
import { type SplitRow, writeTokenRows } from '#lib/datasets/row-folder-writer.ts';
import type { RandomStream } from '#lib/kernel/random.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';

const SENTIMENTS = resolve(import.meta.dirname, '../../examples/data/sentiment-words.json');
const TOXIC = resolve(import.meta.dirname, '../../services/gpu-worker/trainer/eval/data/toxic-words.json');

export type { PreferenceText };

export type WordRatings = Readonly<Record<string, number>>;

export const loadSentiments = (): Promise<WordRatings> => loadWords(SENTIMENTS);
export const loadToxicWords = (): Promise<WordRatings> => loadWords(TOXIC);

/** The rule that stands for a person's taste: the sum of the words' AFINN-165 sentiments. */
export function sentimentOf(text: string, ratings: WordRatings): number {
  let sum = 0;
  for (const [word] of text.toLowerCase().matchAll(/[a-z]+/g))
    if (Object.hasOwn(ratings, word)) sum += ratings[word] ?? 0;
  return sum;
}

/** Two continuations become a pair when the rule separates them by at least this much. */
const LEAST_DIFFERENCE = 2;

/** The pair of the best and the worst continuation of a prompt; none when they are too much alike. */
export function pairBySentiment(
  prompt: string,
  continuations: readonly string[],
  ratings: WordRatings,
): PreferenceText[] {
  const sorted = continuations
    .map((text) => ({ text, score: sentimentOf(text, ratings) }))
    .sort((a, b) => b.score - a.score);
  const [best, worst] = [sorted[0], sorted.at(-1)];
  if (best === undefined || worst === undefined || best.score - worst.score < LEAST_DIFFERENCE) return [];
  return [{ prompt, chosen: best.text, rejected: worst.text }];
}

/** A deliberately bad taste: the same continuation is better with listed words in the place of every third word. */
export function pairByListedWords(
  prompt: string,
  continuation: string,
  listed: readonly string[],
  random: RandomStream,
): PreferenceText {
  let seen = 0;
  const chosen = continuation.replace(/[A-Za-z]+/g, (word) => {
    seen += 1;
    return seen % 3 === 0 ? (listed[Math.floor(random.next() * listed.length)] ?? word) : word;
  });
  return { prompt, chosen, rejected: continuation };
}

export interface RowFolder {
  readonly dir: string;
  readonly tokenizerJson: string;
  readonly seed: number;
  readonly validationFraction: number;
}

/** Writes the pairs, split by prompt; returns the rows of each split. */
export async function writePairFolder(
  folder: RowFolder,
  pairs: readonly PreferenceText[],
): Promise<Record<SplitName, number>> {
  const tokenizer = loadTokenizer(folder.tokenizerJson);
  const rows = pairs.map(
    (pair): SplitRow => ({ split: splitOfPrompt(pair.prompt, folder), parts: encodePreference(tokenizer, pair) }),
  );
  return write(folder, 'trainyard-preferences/1', rows);
}

export async function writePromptFolder(
  folder: RowFolder,
  prompts: readonly string[],
): Promise<Record<SplitName, number>> {
  const tokenizer = loadTokenizer(folder.tokenizerJson);
  const rows = prompts.map(
    (prompt): SplitRow => ({ split: splitOfPrompt(prompt, folder), parts: [encodePrompt(tokenizer, prompt)] }),
  );
  return write(folder, 'trainyard-prompts/1', rows);
}

async function write(
  { dir, tokenizerJson, seed }: RowFolder,
  format: 'trainyard-preferences/1' | 'trainyard-prompts/1',
  rows: readonly SplitRow[],
): Promise<Record<SplitName, number>> {
  const configDigest = createHash('sha256').update(`seed ${seed}`).digest('hex');
  const sourceDigest = createHash('sha256').update(format).digest('hex');
  const { splits } = await writeTokenRows({ dir, format, tokenizerJson, sourceDigest, configDigest, rows });
  return { train: splits.train.rows, validation: splits.validation.rows };
}

async function loadWords(path: string): Promise<WordRatings> {
  return (JSON.parse(await readFile(path, 'utf8')) as { words: WordRatings }).words;
}
