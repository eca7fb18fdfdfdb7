import { MinHeap } from './min-heap.ts';
import { splitWords } from './pre-tokenizer.ts';
import { END_OF_TEXT, pairKey, readTokenizerJson, type TokenizerModel } from './tokenizer-json.ts';

export { tokenizerJson } from './tokenizer-json.ts';

/** A byte-level BPE tokenizer; ids are `0 .. vocabularySize - 1` and fit 16 bits. */
export interface Tokenizer {
  readonly vocabularySize: number;
  /** The id that closes a document; never produced by `encode`. */
  readonly endOfTextId: number;
  /**
   * Ids of a text, in order; any string is accepted and none is unknown. Lone surrogates become U+FFFD, and `<|endoftext|>` in
   * the text is ordinary text: data cannot forge a document's end.
   */
  encode(text: string): Uint16Array;
  /**
   * The text of ids. `decode(encode(x)) === x.toWellFormed()`; bytes that are not UTF-8 (a cut inside a character) become U+FFFD,
   * `endOfTextId` becomes `<|endoftext|>`. Throws `RangeError` on an id outside the vocabulary.
   */
  decode(ids: ArrayLike<number>): string;
}

/** Words kept with their ids; beyond it the cache starts anew. 7 MB of English hold 40,000 different ones. */
const MAX_CACHED_WORDS = 65_536;
/** Longer words hardly repeat; caching them would only hold memory. */
const MAX_CACHED_WORD_CHARACTERS = 64;

/**
 * Reads a `tokenizer.json` of the Hugging Face `tokenizers` library (BPE with byte-level pre-tokenizer).
 * Throws `TokenizerInvalid` (TrainyardError) for anything else.
 */
export function loadTokenizer(json: string): Tokenizer {
  return new ByteLevelTokenizer(readTokenizerJson(json));
}

class ByteLevelTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly endOfTextId: number;
  readonly #model: TokenizerModel;
  readonly #cache = new Map<string, Uint16Array>();
  readonly #toBytes = new TextEncoder();

  constructor(model: TokenizerModel) {
    this.#model = model;
    this.vocabularySize = model.tokenBytes.length;
    this.endOfTextId = model.endOfTextId;
  }

  encode(text: string): Uint16Array {
    let out = new Uint16Array((text.length >> 1) + 16);
    let length = 0;
    for (const word of splitWords(text)) {
      const ids = this.#cache.get(word) ?? this.#encodeWord(word);
      if (length + ids.length > out.length) {
        const larger = new Uint16Array(2 * out.length + ids.length);
        larger.set(out.subarray(0, length));
        out = larger;
      }
      for (let i = 0; i < ids.length; i++) out[length++] = ids[i] as number;
    }
    return out.slice(0, length);
  }

  decode(ids: ArrayLike<number>): string {
    const { tokenBytes } = this.#model;
    const parts: Uint8Array[] = [];
    let length = 0;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      const bytes = id === this.endOfTextId ? this.#toBytes.encode(END_OF_TEXT) : tokenBytes[id];
      if (bytes === undefined) throw new RangeError(`token id ${id} is outside 0..${this.vocabularySize - 1}`);
      parts.push(bytes);
      length += bytes.length;
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const bytes of parts) {
      all.set(bytes, at);
      at += bytes.length;
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(all);
  }

  #encodeWord(word: string): Uint16Array {
    const bytes = this.#toBytes.encode(word);
    const ids = mergeWord(
      Array.from(bytes, (byte) => this.#model.byteIds[byte] as number),
      this.#model,
    );
    if (word.length <= MAX_CACHED_WORD_CHARACTERS) {
      if (this.#cache.size >= MAX_CACHED_WORDS) this.#cache.clear();
      this.#cache.set(word, ids);
    }
    return ids;
  }
}

/** Position within a word, below 2^32, so that `rank * POSITIONS + position` is one exact number. */
const POSITIONS = 2 ** 32;

/**
 * Applies merges by rank, leftmost first among equals, over a linked list with a heap: n log n, because a word may be the whole
 * of a hostile document.
 */
function mergeWord(ids: number[], { ranks, mergedIds }: TokenizerModel): Uint16Array {
  const n = ids.length;
  const next = Int32Array.from(ids, (_, i) => (i + 1 < n ? i + 1 : -1));
  const previous = Int32Array.from(ids, (_, i) => i - 1);
  const heap = new MinHeap<number>((a, b) => a < b);
  const rankAt = (i: number): number => {
    const right = i < 0 ? -1 : (next[i] as number);
    return right < 0 ? -1 : (ranks.get(pairKey(ids[i] as number, ids[right] as number)) ?? -1);
  };
  const offer = (i: number): void => {
    const rank = rankAt(i);
    if (rank >= 0) heap.push(rank * POSITIONS + i);
  };
  for (let i = 0; i + 1 < n; i++) offer(i);
  for (let top = heap.pop(); top !== undefined; top = heap.pop()) {
    const rank = Math.floor(top / POSITIONS);
    const i = top - rank * POSITIONS;
    // Stale entry: one of its two symbols was merged meanwhile (a swallowed symbol has id -1, so its pair has no rank).
    if (rankAt(i) !== rank) continue;
    const right = next[i] as number;
    const after = next[right] as number;
    ids[i] = mergedIds[rank] as number;
    ids[right] = -1;
    next[i] = after;
    next[right] = -1;
    if (after >= 0) previous[after] = i;
    offer(previous[i] as number);
    offer(i);
  }
  return Uint16Array.from(ids.filter((id) => id >= 0));
}
