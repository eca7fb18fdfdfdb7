import { cutText, normaliseText } from './normalisation.ts';
import type { SourceDocument } from './source-document.ts';

export interface PreparedDocument extends SourceDocument {
  /** True when `maxCharacters` took a part away. */
  readonly cut: boolean;
}

/** The normalised and, where `maxCharacters` says so, cut document. Depends on this document and that number only. */
export function prepareDocument(
  document: SourceDocument,
  config: { readonly maxCharacters?: number | undefined },
): PreparedDocument {
  const prompt = normaliseText(document.prompt);
  const normal = normaliseText(document.text);
  // Where a prompt and a completion meet, white space is the author's; a text has no such place.
  const text = document.prompt === '' ? normal.trim() : normal.trimEnd();
  const kept = config.maxCharacters === undefined ? text : cutText(text, config.maxCharacters - prompt.length);
  return { prompt, text: kept, cut: kept.length < text.length };
}
