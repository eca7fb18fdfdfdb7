import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import type { Tokenizer } from '#lib/text/tokenizer.ts';
import type { SourceDocument } from './documents/source-document.ts';

/** True when only a part of each document counts in the loss. */
export const isMasked = (format: DatasetFormat): boolean => format === 'jsonl_prompt_completion';

/** Prompt and text are encoded each for itself, so that no token spans both and the mask is exact; end-of-text counts as text. */
export function encodeDocument({ prompt, text }: SourceDocument, tokenizer: Tokenizer) {
  const before = tokenizer.encode(prompt);
  const after = tokenizer.encode(text);
  const tokens = new Uint16Array(before.length + after.length + 1);
  tokens.set(before);
  tokens.set(after, before.length);
  tokens[tokens.length - 1] = tokenizer.endOfTextId;
  return { tokens, promptTokens: before.length };
}
