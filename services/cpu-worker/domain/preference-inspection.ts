import type { TextDigest } from './preprocessing.ts';
import {
  type PreferencePair,
  type PreferenceShape,
  readPreferenceRow,
  ROW_FAULT,
  type RowFault,
} from '#lib/datasets/documents/preference-row.ts';
import { type Listed, RowFindings } from './row-findings.ts';

/** What can only be wrong between rows. */
const PAIR_FAULT = { duplicatePair: 'duplicatePair', swappedPair: 'swappedPair' } as const;

const PREFERENCE_FAULTS: readonly PreferenceFault[] = [...Object.values(ROW_FAULT), ...Object.values(PAIR_FAULT)];
export type PreferenceFault = RowFault | keyof typeof PAIR_FAULT;

/** Allowed, and worth knowing. */
const PREFERENCE_WARNINGS = {
  /** The prompt of an earlier row again: fine, as long as the completions differ. */
  repeatedPrompt: 'repeatedPrompt',
  /** Like a prompt of the other split but for case, white space and punctuation: both are held in one split. */
  leakPrevented: 'leakPrevented',
  /** Another shape than the first row has. */
  mixedShapes: 'mixedShapes',
} as const;
type PreferenceWarning = keyof typeof PREFERENCE_WARNINGS;

/** Bounds the memory of an inspection: 436 bytes a pair with prompts of its own (400,000 pairs, Node 24, November 2026). */
export const MAX_PAIRS = 1_000_000;

export interface PreferenceFindings {
  /** Lines that are not white space. */
  readonly rows: number;
  /** Pairs without a fault. */
  readonly pairs: number;
  /** Different prompts among them. */
  readonly prompts: number;
  readonly trainPairs: number;
  readonly validationPairs: number;
  readonly faults: readonly Listed<PreferenceFault>[];
  readonly warnings: readonly Listed<PreferenceWarning>[];
}

export interface InspectedPair {
  readonly pair: PreferencePair;
  readonly split: Split;
  /** True for the first pair of its prompt. */
  readonly isFirstOfPrompt: boolean;
}

type Split = 'train' | 'validation';

export interface PreferenceInspection {
  /** Takes the next line, in order, without its line feed. Null for a line of white space and for a row with a fault. */
  line(line: string): InspectedPair | null;
  /** Call once, at the end. */
  end(): PreferenceFindings;
}

/**
 * Looks at every row of a preference dataset and decides its split: by `splitOf` of its prompt without case, white space and punctuation, so
 * that prompts which differ only in these are never on both sides. Deterministic; a row's split depends on its prompt alone.
 */
export function preferenceInspection(splitOf: (prompt: string) => Split, digest: TextDigest): PreferenceInspection {
  const faults = new RowFindings<PreferenceFault>(PREFERENCE_FAULTS);
  const warnings = new RowFindings<PreferenceWarning>(Object.values(PREFERENCE_WARNINGS));
  const key = (text: string): string => digest(text).slice(0, DIGEST_PREFIX);
  const pairs = new KnownPairs(key);
  const prompts = new KnownPrompts(key, splitOf);
  const counts = { rows: 0, pairs: 0, train: 0, validation: 0 };
  let line = 0;
  let firstShape: PreferenceShape | null = null;
  return {
    line(text) {
      line += 1;
      const row = readPreferenceRow(text);
      if (row === null) return null;
      counts.rows += 1;
      if (!row.ok) {
        faults.add(row.fault, line, row.message);
        return null;
      }
      if (counts.pairs >= MAX_PAIRS) {
        // Too many anyway: only counted, so that memory stays bounded.
        counts.pairs += 1;
        return null;
      }
      const earlier = pairs.take(row.pair, line);
      if (earlier !== null) {
        faults.add(earlier.fault, line, earlier.message);
        return null;
      }
      firstShape ??= row.shape;
      if (row.shape !== firstShape) warnings.add('mixedShapes', line, `${row.shape}, the first row is ${firstShape}`);
      const { split, isFirst, leaks } = prompts.take(row.pair.prompt);
      if (!isFirst) warnings.add('repeatedPrompt', line, 'the prompt of an earlier row');
      if (leaks) warnings.add('leakPrevented', line, 'nearly a prompt of the other split');
      counts.pairs += 1;
      counts[split] += 1;
      return { pair: row.pair, split, isFirstOfPrompt: isFirst };
    },
    end: () => ({
      rows: counts.rows,
      pairs: counts.pairs,
      prompts: prompts.count,
      trainPairs: counts.train,
      validationPairs: counts.validation,
      faults: faults.listed(),
      warnings: warnings.listed(),
    }),
  };
}

/** 32 of 64 hex digits (128 bits) leave no chance of a false match and half the memory. */
const DIGEST_PREFIX = 32;

class KnownPairs {
  readonly #key: (text: string) => string;
  /** Row of a pair, negative when its completions are in descending order. */
  readonly #rows = new Map<string, number>();

  constructor(key: (text: string) => string) {
    this.#key = key;
  }

  /** Null for a new pair; otherwise how it repeats or contradicts an earlier one. */
  take(
    { prompt, chosen, rejected }: PreferencePair,
    row: number,
  ): { fault: keyof typeof PAIR_FAULT; message: string } | null {
    const [low, high] = chosen < rejected ? [chosen, rejected] : [rejected, chosen];
    // The lengths make the boundaries part of the key: ("ab", "c") is not ("a", "bc").
    const key = this.#key(`${prompt.length},${low.length}\n${prompt}${low}${high}`);
    const direction = chosen === low ? 1 : -1;
    const known = this.#rows.get(key);
    if (known === undefined) {
      this.#rows.set(key, row * direction);
      return null;
    }
    const earlier = `the pair of row ${Math.abs(known)}`;
    return Math.sign(known) === direction
      ? { fault: 'duplicatePair', message: `${earlier} again` }
      : { fault: 'swappedPair', message: `${earlier} the other way round: which one is better?` };
  }
}

class KnownPrompts {
  readonly #key: (text: string) => string;
  readonly #splitOf: (prompt: string) => Split;
  readonly #exact = new Set<string>();
  /** By folded prompt: the split that the first prompt of this form alone would have had. */
  readonly #folded = new Map<string, Split>();

  constructor(key: (text: string) => string, splitOf: (prompt: string) => Split) {
    this.#key = key;
    this.#splitOf = splitOf;
  }

  /** Different prompts taken. */
  get count(): number {
    return this.#exact.size;
  }

  /** `leaks`: new, and by its own hash on the other side of a prompt that is nearly the same; `split` is that prompt's. */
  take(prompt: string): { split: Split; isFirst: boolean; leaks: boolean } {
    const form = foldedPrompt(prompt);
    const split = this.#splitOf(form);
    const key = this.#key(prompt);
    if (this.#exact.has(key)) return { split, isFirst: false, leaks: false };
    this.#exact.add(key);
    const alone = this.#splitOf(prompt);
    const formKey = this.#key(form);
    const other = this.#folded.get(formKey);
    if (other === undefined) this.#folded.set(formKey, alone);
    return { split, isFirst: true, leaks: other !== undefined && other !== alone };
  }
}

/** Letters and digits only, in lower case and compatibility form, one space between words; the prompt itself when nothing is left. */
function foldedPrompt(prompt: string): string {
  const words = prompt
    .normalize('NFKC')
    .toLowerCase()
    .match(/[\p{L}\p{M}\p{N}]+/gu);
  return words === null ? prompt : words.join(' ');
}
