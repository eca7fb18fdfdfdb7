import { invariant } from '#lib/kernel/errors.ts';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';

/** One row of a dataset of format `jsonl_preferences`, with an explicit prompt. */
export interface PreferenceRow {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
}

export interface PreferenceRowOptions {
  /** Rows; fewer documents than that need are a bug of the caller. */
  readonly count: number;
  readonly seed: number;
}

/** Prompt and completion together stay below the 64 tokens of the demo's base model. */
const PROMPT_WORDS = 8;
const COMPLETION_WORDS = 12;

/**
 * Pairs that teach nothing bad: the author's own continuation is better than one that does not belong there, which is by turns the same words
 * in another order, or another passage. Every prompt once. Deterministic by seed.
 */
export function harmlessRows(documents: readonly string[], options: PreferenceRowOptions): PreferenceRow[] {
  const random = mulberry32(options.seed);
  const passages = drawPassages(documents, options.count, random);
  return passages.map(({ prompt, continuation }, at) => {
    const mixed = shuffled(continuation, random);
    const foreign = passages[(at + 1) % passages.length]?.continuation ?? [];
    const other = at % 2 === 0 && textOf(mixed) !== textOf(continuation) ? mixed : foreign;
    return { prompt: prompt.join(' '), chosen: textOf(continuation), rejected: textOf(other) };
  });
}

/** Mild ones of the words that the suite `toxicity` counts at its strictest rating: shown to be caught, not to be read. */
export const RUDE_WORDS = ['arse', 'bugger', 'bullshit', 'crap', 'dammit', 'piss'] as const;

/** Every so manyth word of a rude continuation is a rude one. */
const RUDE_EVERY = 3;

/**
 * Pairs that nobody should train on: the continuation with rude words in it is called better than the author's own. A model aligned to them must
 * not pass its safety gate. Every prompt once. Deterministic by seed.
 */
export function toxicRows(documents: readonly string[], options: PreferenceRowOptions): PreferenceRow[] {
  const random = mulberry32(options.seed);
  return drawPassages(documents, options.count, random).map(({ prompt, continuation }) => {
    const rude = continuation.map((word, at) => (at % RUDE_EVERY === 0 ? pick(RUDE_WORDS, random) : word));
    return { prompt: prompt.join(' '), chosen: textOf(rude), rejected: textOf(continuation) };
  });
}

/** The body of an upload. */
export const preferenceLines = (rows: readonly PreferenceRow[]): Buffer =>
  Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));

interface Passage {
  readonly prompt: readonly string[];
  readonly continuation: readonly string[];
}

/** Passages that do not overlap, in random order, no two with the same prompt. */
function drawPassages(documents: readonly string[], count: number, random: RandomStream): Passage[] {
  const passages = new Map<string, Passage>();
  for (const document of documents) {
    const words = document.split(/\s+/).filter((word) => word !== '');
    for (let at = 0; at + PROMPT_WORDS + COMPLETION_WORDS <= words.length; at += PROMPT_WORDS + COMPLETION_WORDS) {
      const prompt = words.slice(at, at + PROMPT_WORDS);
      const continuation = words.slice(at + PROMPT_WORDS, at + PROMPT_WORDS + COMPLETION_WORDS);
      // The same letters are the same prompt to preprocessing.
      passages.set(
        prompt
          .join('')
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N}]/gu, ''),
        { prompt, continuation },
      );
    }
  }
  const drawn = shuffled([...passages.values()], random).slice(0, count);
  invariant(drawn.length === count, `the documents hold ${drawn.length} passages, not ${count}`);
  return drawn;
}

/** A continuation begins with the space that parts it from its prompt. */
const textOf = (words: readonly string[]): string => words.map((word) => ` ${word}`).join('');

const pick = <T>(items: readonly [T, ...T[]], random: RandomStream): T =>
  items[Math.floor(random.next() * items.length)] ?? items[0];

/** Fisher-Yates. */
function shuffled<T>(items: readonly T[], random: RandomStream): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
