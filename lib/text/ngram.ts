import { invariant } from '#lib/kernel/errors.ts';

/** Absolute discount of Kneser-Ney smoothing; 0.75 is the usual value and within 0.5 % of the best on our corpora. */
const DISCOUNT = 0.75;

/** What a model must beat: bits per byte of two count tables. */
export interface NgramBaselines {
  readonly unigramBitsPerByte: number;
  readonly bigramBitsPerByte: number;
}

/**
 * Scores held-out tokens with count tables of the train tokens: unigram with add-one smoothing, bigram with interpolated
 * Kneser-Ney smoothing (Chen and Goodman 1999, section 2.7). Ids must be below `vocabularySize`; `heldOutBytes` is the UTF-8
 * length of the held-out text. The first held-out token has no predecessor and is scored by the unigram in both.
 * Time and memory are linear in tokens and vocabulary (no table of V x V). Both token arrays must be non-empty.
 */
export function ngramBaselines(
  train: Uint16Array,
  heldOut: Uint16Array,
  heldOutBytes: number,
  vocabularySize: number,
): NgramBaselines {
  invariant(train.length > 1 && heldOut.length > 0 && heldOutBytes > 0, 'baselines need train and held-out tokens');
  const unigram = unigramTable(train, vocabularySize);
  let unigramNats = 0;
  for (const id of heldOut) unigramNats -= Math.log(unigram[id] as number);
  const bigramNats = bigramLoss(train, heldOut, vocabularySize) - Math.log(unigram[heldOut[0] as number] as number);
  const perByte = 1 / (Math.LN2 * heldOutBytes);
  return { unigramBitsPerByte: unigramNats * perByte, bigramBitsPerByte: bigramNats * perByte };
}

function unigramTable(train: Uint16Array, vocabularySize: number): Float64Array {
  const table = new Float64Array(vocabularySize).fill(1);
  for (const id of train) table[id] = (table[id] as number) + 1;
  return table.map((count) => count / (train.length + vocabularySize));
}

/** Summed negative log-likelihood in nats of every held-out token but the first. */
function bigramLoss(train: Uint16Array, heldOut: Uint16Array, vocabularySize: number): number {
  const seen = successors(train, vocabularySize);
  const asked = successors(heldOut, vocabularySize);
  const counts = new Uint32Array(vocabularySize);
  const kinds = new Uint32Array(vocabularySize);
  const continuation = continuationTable(seen, counts, kinds);
  let nats = 0;
  for (let context = 0; context < vocabularySize; context++) {
    const followers = asked.of(context);
    if (followers.length === 0) continue;
    const known = seen.of(context);
    for (const id of known) counts[id] = (counts[id] as number) + 1;
    const total = known.length;
    const backOff = total === 0 ? 1 : (DISCOUNT * (kinds[context] as number)) / total;
    for (const id of followers) {
      const count = counts[id] as number;
      const direct = count === 0 ? 0 : (count - DISCOUNT) / total;
      nats -= Math.log(direct + backOff * (continuation[id] as number));
    }
    for (const id of known) counts[id] = 0;
  }
  return nats;
}

/**
 * Share of different contexts a token follows, with one added to each so that none is zero. `counts` is scratch and left zero;
 * `kinds` receives the number of different successors of each context.
 */
function continuationTable(seen: Successors, counts: Uint32Array, kinds: Uint32Array): Float64Array {
  const contexts = new Float64Array(counts.length).fill(1);
  let pairs = 0;
  for (let context = 0; context < counts.length; context++) {
    const known = seen.of(context);
    for (const id of known) {
      if (counts[id] !== 0) continue;
      counts[id] = 1;
      contexts[id] = (contexts[id] as number) + 1;
      kinds[context] = (kinds[context] as number) + 1;
      pairs += 1;
    }
    for (const id of known) counts[id] = 0;
  }
  return contexts.map((count) => count / (pairs + counts.length));
}

interface Successors {
  /** The tokens that follow `context`, in order of occurrence. */
  of(context: number): Uint16Array;
}

/** Counting sort of all successors by their context. */
function successors(tokens: Uint16Array, vocabularySize: number): Successors {
  const starts = new Uint32Array(vocabularySize + 1);
  for (let i = 0; i + 1 < tokens.length; i++) {
    const at = (tokens[i] as number) + 1;
    starts[at] = (starts[at] as number) + 1;
  }
  for (let id = 0; id < vocabularySize; id++) starts[id + 1] = (starts[id + 1] as number) + (starts[id] as number);
  const fill = starts.slice();
  const sorted = new Uint16Array(Math.max(0, tokens.length - 1));
  for (let i = 0; i + 1 < tokens.length; i++) {
    const context = tokens[i] as number;
    sorted[fill[context] as number] = tokens[i + 1] as number;
    fill[context] = (fill[context] as number) + 1;
  }
  return { of: (context) => sorted.subarray(starts[context], starts[context + 1]) };
}
