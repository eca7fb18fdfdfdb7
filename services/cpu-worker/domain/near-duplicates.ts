import { mulberry32 } from '#lib/kernel/random.ts';
import type { SourceDocument } from '#lib/datasets/documents/source-document.ts';

/** Words per shingle (Broder 1997): 5 words rarely repeat by chance in running text. */
const SHINGLE_WORDS = 5;
/** Values of a signature; the estimate's standard error at similarity 0.9 is 0.027. */
const SIGNATURE_VALUES = 128;
/** Chance that a pair at exactly the threshold becomes a candidate; pairs above it are found more surely. */
const RECALL_AT_THRESHOLD = 0.99;
/** Candidates compared per band, newest first: bounds the work on forms that share most of their text (0.1 ms a document). */
const MAX_CANDIDATES_PER_BAND = 50;

/** Documents seen so far, by similarity. */
export interface NearDuplicateIndex {
  /**
   * True when the estimated Jaccard similarity (of the sets of 5-word shingles, case ignored) to an earlier, kept document reaches
   * the threshold; otherwise the document is kept for later comparisons. Of documents with prompts both prompt and text must be
   * similar: rows that share a long template and differ in their completion are not duplicates.
   */
  isNearDuplicate(document: SourceDocument): boolean;
}

/**
 * MinHash with locality-sensitive hashing (Leskovec et al., Mining of Massive Datasets, section 3.4). Deterministic by seed and
 * order of documents. About 600 bytes per kept document. `threshold` in (0, 1]; 1 finds nothing (exact duplicates are another rule).
 */
export function nearDuplicateIndex(threshold: number, seed: number): NearDuplicateIndex {
  if (threshold >= 1) return { isNearDuplicate: () => false };
  const permutations = permutationsOf(seed);
  const { rows, bands } = banding(threshold);
  const buckets = Array.from({ length: bands }, (): Bucket => ({ newest: new Map(), older: [] }));
  const kept: Signatures[] = [];
  return {
    isNearDuplicate(document) {
      const signatures = signaturesOf(document, permutations);
      const keys = buckets.map((_, band) => bandKey(signatures.whole, band * rows, rows));
      const isSimilar = (index: number): boolean => similar(signatures, kept[index] as Signatures, threshold);
      if (buckets.some((bucket, band) => candidates(bucket, keys[band] as number).some(isSimilar))) return true;
      const index = kept.push(signatures) - 1;
      for (const [band, { newest, older }] of buckets.entries()) {
        const key = keys[band] as number;
        older.push(newest.get(key) ?? -1);
        newest.set(key, index);
      }
      return false;
    },
  };
}

/** The documents of one band by key: `newest`, and from each document to the one before it with the same key (-1 = none). */
interface Bucket {
  readonly newest: Map<number, number>;
  readonly older: number[];
}

function candidates({ newest, older }: Bucket, key: number): number[] {
  const found: number[] = [];
  let index = newest.get(key) ?? -1;
  while (index >= 0 && found.length < MAX_CANDIDATES_PER_BAND) {
    found.push(index);
    index = older[index] as number;
  }
  return found;
}

/** `whole` finds candidates; where there is a prompt, prompt and text are compared each for itself. */
interface Signatures {
  readonly whole: Uint16Array;
  readonly parts: readonly [prompt: Uint16Array, text: Uint16Array] | null;
}

function signaturesOf({ prompt, text }: SourceDocument, permutations: Permutations): Signatures {
  if (prompt === '') return { whole: signatureOf(text, permutations), parts: null };
  return {
    whole: signatureOf(`${prompt} ${text}`, permutations),
    parts: [signatureOf(prompt, permutations), signatureOf(text, permutations)],
  };
}

function similar(a: Signatures, b: Signatures, threshold: number): boolean {
  if (a.parts === null || b.parts === null) return similarity(a.whole, b.whole) >= threshold;
  return similarity(a.parts[0], b.parts[0]) >= threshold && similarity(a.parts[1], b.parts[1]) >= threshold;
}

/** Most rows per band (fewest false candidates) for which enough bands fit the signature to reach the recall. */
function banding(threshold: number): { rows: number; bands: number } {
  for (const rows of [16, 8, 4, 2]) {
    const bands = Math.ceil(Math.log(1 - RECALL_AT_THRESHOLD) / Math.log(1 - threshold ** rows));
    if (bands * rows <= SIGNATURE_VALUES) return { rows, bands };
  }
  return { rows: 1, bands: SIGNATURE_VALUES };
}

interface Permutations {
  readonly factors: Int32Array;
  readonly offsets: Int32Array;
}

/**
 * Random odd factors and offsets: `x -> factor * x + offset (mod 2^32)` permutes 32-bit numbers. A costlier bijection (two
 * multiplications and shifts) found no more pairs: 899 and 898 of 900 at similarity 0.967 and threshold 0.9.
 */
function permutationsOf(seed: number): Permutations {
  const random = mulberry32(seed);
  const draw = (): number => Math.floor(random.next() * 4_294_967_296);
  return {
    factors: Int32Array.from({ length: SIGNATURE_VALUES }, () => draw() | 1),
    offsets: Int32Array.from({ length: SIGNATURE_VALUES }, () => draw() | 0),
  };
}

/** Low 16 bits of the least permuted shingle, per permutation. A text shorter than a shingle is one shingle. */
function signatureOf(text: string, { factors, offsets }: Permutations): Uint16Array {
  const words = wordHashes(text);
  const least = new Int32Array(SIGNATURE_VALUES).fill(0x7fff_ffff);
  const shingles = Math.max(1, words.length - SHINGLE_WORDS + 1);
  for (let start = 0; start < shingles; start++) {
    let shingle = 0;
    const end = Math.min(words.length, start + SHINGLE_WORDS);
    for (let i = start; i < end; i++) shingle = mix(Math.imul(shingle, 31) + (words[i] as number));
    for (let i = 0; i < SIGNATURE_VALUES; i++) {
      const value = (Math.imul(factors[i] as number, shingle) + (offsets[i] as number)) | 0;
      if (value < (least[i] as number)) least[i] = value;
    }
  }
  return Uint16Array.from(least);
}

/** Punctuation belongs to the word: `2+2` and `2-2` are two questions. */
const WORD = /\S+/g;

function wordHashes(text: string): Int32Array {
  return Int32Array.from(text.toLowerCase().match(WORD) ?? [], (word) => {
    let hash = 0x811c9dc5;
    for (let i = 0; i < word.length; i++) hash = Math.imul(hash ^ word.charCodeAt(i), 0x01000193);
    return mix(hash);
  });
}

/** The finaliser of murmur3: every input bit changes every output bit with probability about a half. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** 30 bits, so that the map's keys are small integers. */
function bandKey(signature: Uint16Array, from: number, rows: number): number {
  let key = 0;
  for (let i = from; i < from + rows; i++) key = mix(Math.imul(key, 31) + (signature[i] as number));
  return key >>> 2;
}

function similarity(a: Uint16Array, b: Uint16Array): number {
  let equal = 0;
  for (let i = 0; i < SIGNATURE_VALUES; i++) if (a[i] === b[i]) equal += 1;
  return equal / SIGNATURE_VALUES;
}
