import type { RandomStream } from '#lib/kernel/random.ts';
import type { DecoderProgram } from '../programs/decoder.ts';
import { draw } from './sampling.ts';

export interface ContinuationOptions {
  /** New tokens a row at most. */
  readonly tokens: number;
  /** Above 0; 1 = the model's own distribution. */
  readonly temperature: number;
  readonly endOfTextId: number;
  readonly random: RandomStream;
  /** Called after each position; may throw to stop. */
  readonly afterToken: () => void;
}

/**
 * Continues each prompt (at least one token, at most as many prompts as the program has rows) and returns the new tokens. A row ends
 * with the end-of-text token, which is returned, after `tokens` tokens, or where the program's length ends. Prompts of unequal
 * length run side by side: the shorter ones just begin to sample earlier.
 */
export async function continuePrompts(
  program: DecoderProgram,
  prompts: readonly ArrayLike<number>[],
  options: ContinuationOptions,
): Promise<number[][]> {
  const { tokens, temperature, endOfTextId, random, afterToken } = options;
  const rows = prompts.map((prompt) => ({ ids: Array.from(prompt), promptLength: prompt.length, done: tokens < 1 }));
  program.reset();
  for (let position = 0; position + 1 < program.length && rows.some(({ done }) => !done); position += 1) {
    program.ids.fill(endOfTextId);
    rows.forEach(({ ids }, row) => {
      program.ids[row] = ids[position] ?? endOfTextId;
    });
    const logits = await program.step();
    const vocabulary = logits.length / program.rows;
    rows.forEach((row, index) => {
      if (position + 1 < row.promptLength) return;
      // Drawn for finished rows too, so that one row's end does not change the others' texts.
      const id = draw(logits.subarray(index * vocabulary, (index + 1) * vocabulary), temperature, random);
      if (row.done) return;
      row.ids.push(id);
      row.done = id === endOfTextId || row.ids.length - row.promptLength >= tokens;
    });
    afterToken();
  }
  return rows.map(({ ids, promptLength }) => ids.slice(promptLength));
}
