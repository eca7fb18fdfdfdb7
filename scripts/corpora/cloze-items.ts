import { invariant } from '#lib/kernel/errors.ts';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { splitWords } from '#lib/text/pre-tokenizer.ts';
import type { Tokenizer } from '#lib/text/tokenizer.ts';

export interface ClozeItem {
  readonly context: string;
  /** The true continuation and three spans of other held-out documents, all of `CHOICE_TOKENS` tokens. */
  readonly choices: readonly string[];
  /** Index of the true continuation. */
  readonly answer: number;
}

export interface ClozeFile {
  readonly format: 'trainyard-cloze/1';
  readonly source: string;
  readonly items: readonly ClozeItem[];
}

/** With the context below 64 tokens in all, the context length of the demo model. */
export const CHOICE_TOKENS = 12;
export const CONTEXT_TOKENS = 48;
const CHOICES = 4;

/**
 * Draws cloze items from held-out documents: contexts and true continuations do not overlap each other, and neither a context nor
 * any choice occurs anywhere in the train documents. Choices begin with a space and end with a word, so that context and choice
 * can be encoded apart. Deterministic by seed; throws when fewer than `count` can be drawn.
 */
export function clozeItems(
  heldOut: readonly string[],
  train: readonly string[],
  tokenizer: Tokenizer,
  count: number,
  seed: number,
): ClozeItem[] {
  const random = mulberry32(seed);
  const trainText = train.join('\n\n');
  const isNew = (text: string): boolean => !trainText.includes(text);
  const documents = heldOut.map((text) => tokenWords(text, tokenizer));
  const spans = documents.map(choiceSpans);
  const items: ClozeItem[] = [];
  const windows = shuffled(
    documents.flatMap((words, document) => contextWindows(words, tokenizer).map((window) => ({ document, ...window }))),
    random,
  );
  for (const { document, context, truth } of windows) {
    if (items.length === count) break;
    if (!isNew(context) || !isNew(truth)) continue;
    const choices = [truth];
    while (choices.length < CHOICES) {
      const other = Math.floor(random.next() * spans.length);
      const span = pick(spans[other] ?? [], random);
      if (other !== document && span !== undefined && !choices.includes(span) && isNew(span)) choices.push(span);
    }
    const mixed = shuffled(choices, random);
    items.push({ context, choices: mixed, answer: mixed.indexOf(truth) });
  }
  invariant(items.length === count, `only ${items.length} of ${count} cloze items could be drawn`);
  return items;
}

interface TokenWord {
  readonly text: string;
  readonly tokens: number;
}

const tokenWords = (text: string, tokenizer: Tokenizer): TokenWord[] =>
  splitWords(text).map((word) => ({ text: word, tokens: tokenizer.encode(word).length }));

/** Non-overlapping stretches of at most `CONTEXT_TOKENS` tokens followed by exactly `CHOICE_TOKENS`. */
function contextWindows(words: readonly TokenWord[], tokenizer: Tokenizer): { context: string; truth: string }[] {
  const windows: { context: string; truth: string }[] = [];
  for (let start = 0; start < words.length; ) {
    let end = start;
    for (let tokens = 0; end < words.length; end++) {
      tokens += (words[end] as TokenWord).tokens;
      if (tokens > CONTEXT_TOKENS) break;
    }
    const truth = choiceAt(words, end);
    const context = textOf(words.slice(start, end)).trimStart();
    // A context that begins with a comma or a line end would only look odd to a reader.
    const fits =
      /^\p{L}/u.test(context) && !context.endsWith('\n') && tokenizer.encode(context).length <= CONTEXT_TOKENS;
    if (truth === null || !fits) {
      start += 1;
      continue;
    }
    windows.push({ context, truth: textOf(truth) });
    start = end + truth.length;
  }
  return windows;
}

const choiceSpans = (words: readonly TokenWord[]): string[] =>
  words.flatMap((_, start) => {
    const span = choiceAt(words, start);
    return span === null ? [] : [textOf(span)];
  });

/** The words from `start` that make exactly `CHOICE_TOKENS` tokens, beginning with a space and a letter and on one line; or null. */
function choiceAt(words: readonly TokenWord[], start: number): readonly TokenWord[] | null {
  if (!/^ \p{L}/u.test(words[start]?.text ?? '')) return null;
  let tokens = 0;
  for (let end = start; end < words.length; end++) {
    const word = words[end] as TokenWord;
    if (word.text.includes('\n')) return null;
    tokens += word.tokens;
    if (tokens === CHOICE_TOKENS) return words.slice(start, end + 1);
    if (tokens > CHOICE_TOKENS) return null;
  }
  return null;
}

const textOf = (words: readonly TokenWord[]): string => words.map((word) => word.text).join('');

const pick = <T>(items: readonly T[], random: RandomStream): T | undefined =>
  items[Math.floor(random.next() * items.length)];

/** Fisher-Yates. */
function shuffled<T>(items: readonly T[], random: RandomStream): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
