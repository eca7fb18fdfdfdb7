import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TokenizedDataset, TokenSplit } from '#lib/contracts/tokenized-dataset.ts';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { loadTokenizer, type Tokenizer, tokenizerJson } from '#lib/text/tokenizer.ts';

export interface Document {
  readonly text: string;
  /** Only this end of the text counts in the loss (prompt/completion rows). */
  readonly completion?: string;
}

export interface WrittenDataset {
  readonly dir: string;
  readonly description: TokenizedDataset;
  readonly tokenizer: Tokenizer;
  readonly tokenizerJson: string;
  readonly train: Uint16Array;
  readonly validation: Uint16Array;
}

const VOCABULARY_SIZE = 320;
const WORDS = 60;
const SUCCESSORS = 4;

/**
 * Text-like documents from a word chain: every word has four likely followers, so that a model which looks one word back
 * does much better than word frequencies.
 */
export function chainDocuments(count: number, seed: number): Document[] {
  const grammar = mulberry32(7);
  const words = wordsOf(grammar);
  const followers = words.map(() => Array.from({ length: SUCCESSORS }, () => pick(words.length, grammar)));
  const random = mulberry32(seed);
  return Array.from({ length: count }, () => {
    let at = pick(words.length, random);
    const parts: string[] = [];
    for (let index = 0; index < 30; index += 1) {
      parts.push(words[at] ?? '');
      at = followers[at]?.[pick(SUCCESSORS, random)] ?? 0;
    }
    return { text: `${parts.join(' ')}.` };
  });
}

/** The words that `chainDocuments` uses. */
export const chainWords = (): string[] => wordsOf(mulberry32(7));

const wordsOf = (grammar: RandomStream): string[] => Array.from({ length: WORDS }, () => word(grammar));

/** Writes a dataset folder the way `preprocess_data` does. Documents with a `completion` make it masked. */
export async function writeDataset(
  dir: string,
  splits: { train: readonly Document[]; validation: readonly Document[] },
): Promise<WrittenDataset> {
  await mkdir(dir, { recursive: true });
  const trainer = bpeTrainer();
  for (const { text } of chainDocuments(200, 1)) trainer.add(text);
  const json = tokenizerJson(trainer.train(VOCABULARY_SIZE));
  const tokenizer = loadTokenizer(json);
  await writeFile(join(dir, 'tokenizer.json'), json);
  const masked = splits.train.some(({ completion }) => completion !== undefined);
  const train = await writeSplit(dir, 'train', splits.train, tokenizer, masked);
  const validation = await writeSplit(dir, 'validation', splits.validation, tokenizer, masked);
  const description: TokenizedDataset = {
    format: 'trainyard-tokens/1',
    sourceDigest: sha256('source'),
    configDigest: sha256('config'),
    tokenizer: {
      vocabularySize: tokenizer.vocabularySize,
      endOfTextId: tokenizer.endOfTextId,
      sha256: sha256(json),
    },
    masked,
    splits: { train: train.split, validation: validation.split },
  };
  await writeFile(join(dir, 'dataset.json'), JSON.stringify(description));
  return { dir, description, tokenizer, tokenizerJson: json, train: train.ids, validation: validation.ids };
}

async function writeSplit(
  dir: string,
  name: string,
  documents: readonly Document[],
  tokenizer: Tokenizer,
  masked: boolean,
): Promise<{ split: TokenSplit; ids: Uint16Array }> {
  const ids: number[] = [];
  const mask: number[] = [];
  for (const { text, completion } of documents) {
    const prompt = tokenizer.encode(completion === undefined ? text : text.slice(0, -completion.length));
    const rest = completion === undefined ? [] : [...tokenizer.encode(completion)];
    for (const id of prompt) ids.push(id);
    ids.push(...rest, tokenizer.endOfTextId);
    mask.push(...Array.from(prompt, () => 0), ...rest.map(() => 1), 1);
  }
  const tokens = Uint16Array.from(ids);
  const bytes = new Uint8Array(tokens.buffer);
  await writeFile(join(dir, `${name}-00000.bin`), bytes);
  if (masked) await writeFile(join(dir, `${name}-00000.mask.bin`), Uint8Array.from(mask));
  const split: TokenSplit = {
    documents: documents.length,
    tokens: tokens.length,
    bytes: documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0),
    shards: [
      {
        file: `${name}-00000.bin`,
        ...(masked ? { maskFile: `${name}-00000.mask.bin` } : {}),
        tokens: tokens.length,
        sha256: sha256(bytes),
      },
    ],
  };
  return { split, ids: tokens };
}

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

const pick = (count: number, random: RandomStream): number => Math.floor(random.next() * count);

function word(random: RandomStream): string {
  const syllables = ['ba', 'ce', 'di', 'fo', 'gu', 'la', 'me', 'ni', 'ro', 'su', 'ta', 've'];
  return Array.from({ length: 1 + pick(3, random) }, () => syllables[pick(syllables.length, random)]).join('');
}
