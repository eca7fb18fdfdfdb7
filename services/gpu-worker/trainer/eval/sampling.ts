import type { RandomStream } from '#lib/kernel/random.ts';
import type { Tokens } from '../data/token-dataset.ts';
import type { NextTokenProgram } from '../programs/causal-lm.ts';

/** Tokens of a held-out document that a sample continues; fewer when the context is short. */
const PROMPT_TOKENS = 16;

/** The starts of the first `count` documents that have at least one token of text. */
export function samplePrompts(tokens: Tokens, endOfTextId: number, count: number, contextLength: number): number[][] {
  const length = Math.max(1, Math.min(PROMPT_TOKENS, contextLength >> 1));
  const prompts: number[][] = [];
  for (let at = 0; at < tokens.ids.length && prompts.length < count; ) {
    const closing = tokens.ids.indexOf(endOfTextId, at);
    const end = closing === -1 ? tokens.ids.length : closing;
    if (end > at) prompts.push([...tokens.ids.subarray(at, Math.min(end, at + length))]);
    at = end + 1;
  }
  return prompts;
}

export interface SamplingOptions {
  readonly tokens: number;
  /** Above 0; 1 = the model's own distribution, lower = safer words. */
  readonly temperature: number;
  readonly endOfTextId: number;
  readonly contextLength: number;
  readonly random: RandomStream;
  readonly afterToken: () => void;
}

/**
 * Continues each prompt by up to `tokens` tokens and returns the new ones. A row ends at the end-of-text token, which is not
 * returned. The whole window is run again for each token: positions are learnt and absolute, so once the window slides a
 * key-value cache would be wrong anyway, and the head runs on one position a row only.
 */
export async function sample(
  program: NextTokenProgram,
  prompts: readonly (readonly number[])[],
  options: SamplingOptions,
): Promise<number[][]> {
  const { contextLength, endOfTextId, random, temperature } = options;
  const rows = prompts.map((prompt) => ({ ids: [...prompt], done: false }));
  for (let made = 0; made < options.tokens && rows.some(({ done }) => !done); made += 1) {
    rows.forEach(({ ids }, row) => {
      const window = ids.slice(-contextLength);
      program.ids.fill(endOfTextId, row * contextLength, (row + 1) * contextLength);
      program.ids.set(window, row * contextLength);
      program.rows[row] = row * contextLength + window.length - 1;
    });
    const logits = await program.run();
    const vocabulary = logits.length / program.rows.length;
    rows.forEach((row, index) => {
      // Drawn for finished rows too, so that one row's end does not change the others' texts.
      const id = draw(logits.subarray(index * vocabulary, (index + 1) * vocabulary), temperature, random);
      if (id === endOfTextId) row.done = true;
      else if (!row.done) row.ids.push(id);
    });
    options.afterToken();
  }
  return rows.map(({ ids }, index) => ids.slice(prompts[index]?.length));
}

/** An index drawn with probability proportional to exp(logit / temperature). */
export function draw(logits: Float32Array, temperature: number, random: RandomStream): number {
  const largest = logits.reduce((max, logit) => Math.max(max, logit), Number.NEGATIVE_INFINITY);
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  let left = random.next() * weights.reduce((sum, weight) => sum + weight, 0);
  for (let id = 0; id < weights.length; id += 1) {
    left -= weights[id] ?? 0;
    if (left < 0) return id;
  }
  return logits.indexOf(largest);
}
