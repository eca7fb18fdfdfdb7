import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { assertNever, TrainyardError } from '#lib/kernel/errors.ts';
import type { SourceDocument } from './source-document.ts';

/**
 * A document as a part of a file of this format. Read again by `documentReader`, a file of such parts gives the same documents: in `text` each is
 * closed by a form feed, after which every cut depends on the next document alone.
 */
export function rowText(format: DatasetFormat, { prompt, text }: SourceDocument): string {
  switch (format) {
    case 'text':
      return `${text}\f`;
    case 'jsonl_text':
      return `${JSON.stringify({ text })}\n`;
    case 'jsonl_prompt_completion':
      return `${JSON.stringify({ prompt, completion: text })}\n`;
    case 'jsonl_preferences':
      throw new TrainyardError('DatasetFormatUnfit', 'pairs of preference are for rlhf, not for training on text');
    default:
      return assertNever(format);
  }
}
