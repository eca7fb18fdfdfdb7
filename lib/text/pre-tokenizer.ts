/**
 * GPT-2's word pattern. `\p{White_Space}` instead of `\s` because the Rust `tokenizers` library means that by `\s`, and
 * JavaScript's `\s` differs from it at U+0085 and U+FEFF.
 */
const WORD =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The pieces BPE never merges across; joined they are the text again. */
export const splitWords = (text: string): readonly string[] => text.match(WORD) ?? [];
