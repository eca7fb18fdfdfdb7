import type { Tokenizer } from '#lib/text/tokenizer.ts';

/** A preference row as text; `chosen` and `rejected` continue `prompt`. */
export interface PreferenceText {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
}

/** Prompt, chosen and rejected, each encoded for itself, so that no token spans two; completions are closed by end-of-text. */
export const encodePreference = (tokenizer: Tokenizer, row: PreferenceText): Uint16Array[] => [
  encodePrompt(tokenizer, row.prompt),
  closed(tokenizer, row.chosen),
  closed(tokenizer, row.rejected),
];

/** An empty prompt is the start of a document, which is what follows an end-of-text token. */
export function encodePrompt(tokenizer: Tokenizer, prompt: string): Uint16Array {
  const ids = tokenizer.encode(prompt);
  return ids.length > 0 ? ids : Uint16Array.of(tokenizer.endOfTextId);
}

function closed(tokenizer: Tokenizer, completion: string): Uint16Array {
  const ids = tokenizer.encode(completion);
  const out = new Uint16Array(ids.length + 1);
  out.set(ids);
  out[ids.length] = tokenizer.endOfTextId;
  return out;
}
