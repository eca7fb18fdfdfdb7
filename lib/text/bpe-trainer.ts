import { invariant } from '#lib/kernel/errors.ts';
import { MinHeap } from './min-heap.ts';
import { splitWords } from './pre-tokenizer.ts';
import { MAX_VOCABULARY_SIZE, pairKey, TokenIds } from './tokenizer-json.ts';

/**
 * Pairs of ids in the order they are merged: ids below 256 are bytes; a merge makes the next free id, or, when its bytes are
 * those of an earlier token (`a`+`bc` after `ab`+`c`), that token's id.
 */
export type Merges = readonly (readonly [left: number, right: number])[];

/** 256 bytes and the end-of-text token. */
const FIXED_TOKENS = 257;
/** A pair seen once teaches nothing about the language; merging it would only memorise a text. */
const MIN_PAIR_COUNT = 2;
/** Longer words (base64, minified code) are left out of the statistics: they cost much and teach nothing. */
const MAX_WORD_BYTES = 4_096;

/** Collects word counts text by text, then learns merges. */
export interface BpeTrainer {
  add(text: string): void;
  /**
   * Merges until there are `vocabularySize` tokens with the end-of-text token, most frequent pair first, ties by lowest left id
   * then lowest right id; they end earlier when no pair occurs twice. The result depends on the multiset of texts only, not on their order.
   */
  train(vocabularySize: number): Merges;
}

/** An empty trainer of byte-level BPE (Sennrich et al. 2016, with GPT-2's words and bytes). */
export function bpeTrainer(): BpeTrainer {
  const wordCounts = new Map<string, number>();
  return {
    add(text) {
      for (const word of splitWords(text)) wordCounts.set(word, (wordCounts.get(word) ?? 0) + 1);
    },
    train(vocabularySize) {
      invariant(
        vocabularySize >= FIXED_TOKENS && vocabularySize <= MAX_VOCABULARY_SIZE,
        `vocabulary size ${vocabularySize} is outside ${FIXED_TOKENS}..${MAX_VOCABULARY_SIZE}`,
      );
      return learnMerges(wordCounts, vocabularySize - 1);
    },
  };
}

interface Word {
  symbols: number[];
  readonly count: number;
}

interface Pair {
  readonly left: number;
  readonly right: number;
  count: number;
  /** Words that hold the pair now. */
  readonly words: Set<Word>;
}

interface Candidate {
  readonly pair: Pair;
  /** The pair's count when it was queued; a different count now means a newer entry exists. */
  readonly count: number;
}

const moreFrequent = (a: Candidate, b: Candidate): boolean =>
  a.count !== b.count
    ? a.count > b.count
    : a.pair.left !== b.pair.left
      ? a.pair.left < b.pair.left
      : a.pair.right < b.pair.right;

function learnMerges(wordCounts: ReadonlyMap<string, number>, maxTokens: number): Merges {
  const pairs = new PairTable();
  const utf8 = new TextEncoder();
  for (const [text, count] of wordCounts) {
    const bytes = utf8.encode(text);
    if (bytes.length >= 2 && bytes.length <= MAX_WORD_BYTES) pairs.note({ symbols: [...bytes], count }, 1);
  }
  const queue = new MinHeap<Candidate>(moreFrequent);
  const enqueue = (changed: Iterable<Pair>): void => {
    for (const pair of changed) if (pair.count >= MIN_PAIR_COUNT) queue.push({ pair, count: pair.count });
  };
  enqueue(pairs.takeChanged());
  const tokens = new TokenIds();
  const merges: [number, number][] = [];
  while (tokens.size < maxTokens) {
    const top = queue.pop();
    if (top === undefined) break;
    if (top.count !== top.pair.count) continue;
    const { left, right } = top.pair;
    const merged = tokens.merge(left, right);
    merges.push([left, right]);
    // A copy: replacing takes the word out of the set and may put it back.
    const words = [...top.pair.words];
    for (const word of words) {
      pairs.note(word, -1);
      word.symbols = replacePair(word.symbols, top.pair, merged);
      pairs.note(word, 1);
    }
    enqueue(pairs.takeChanged());
  }
  return merges;
}

/** Counts of adjacent pairs over all words, kept up to date word by word. */
class PairTable {
  readonly #byKey = new Map<number, Pair>();
  readonly #changed = new Set<Pair>();

  /** Adds (`sign` 1) or takes away (-1) the pairs of a word. */
  note(word: Word, sign: 1 | -1): void {
    const { symbols } = word;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const pair = this.#pair(symbols[i] as number, symbols[i + 1] as number);
      pair.count += sign * word.count;
      if (sign === 1) pair.words.add(word);
      else pair.words.delete(word);
      this.#changed.add(pair);
    }
  }

  /** Pairs whose count may have changed since the last call. */
  takeChanged(): Pair[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  #pair(left: number, right: number): Pair {
    const key = pairKey(left, right);
    let pair = this.#byKey.get(key);
    if (pair === undefined) {
      pair = { left, right, count: 0, words: new Set() };
      this.#byKey.set(key, pair);
    }
    return pair;
  }
}

function replacePair(symbols: readonly number[], { left, right }: Pair, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(merged);
      i += 1;
    } else out.push(symbols[i] as number);
  }
  return out;
}
