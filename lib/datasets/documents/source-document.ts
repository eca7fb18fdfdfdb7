import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { assertNever, TrainyardError } from '#lib/kernel/errors.ts';
import { textDocuments } from './text-documents.ts';

/** One training document. `prompt` is empty in the formats without prompts; only `text` counts in the loss. */
export interface SourceDocument {
  readonly prompt: string;
  readonly text: string;
}

const LINE_FAULT = {
  notJson: 'NotJson',
  notAnObject: 'NotAnObject',
  missingField: 'MissingField',
  wrongFieldType: 'WrongFieldType',
  emptyCompletion: 'EmptyCompletion',
  loneSurrogate: 'LoneSurrogate',
} as const;
export type LineFault = (typeof LINE_FAULT)[keyof typeof LINE_FAULT];

type LineOutcome =
  | { readonly ok: true; readonly documents: readonly SourceDocument[] }
  | { readonly ok: false; readonly fault: LineFault; readonly message: string };

/** Turns the lines of one file, in order and without line ends, into documents. One reader per file. */
export interface DocumentReader {
  line(line: string): LineOutcome;
  /** Documents still open at the end of the file. */
  end(): readonly SourceDocument[];
}

const NOTHING: LineOutcome = { ok: true, documents: [] };

/**
 * - `text`: documents as `textDocuments` finds them; no line is malformed.
 * - `jsonl_text`: one `{"text": string}` per line.
 * - `jsonl_prompt_completion`: one `{"prompt": string, "completion": string}` per line, the completion not empty.
 *
 * Lines of white space are skipped and further members of a row ignored.
 */
export function documentReader(format: DatasetFormat): DocumentReader {
  switch (format) {
    case 'text': {
      const documents = textDocuments();
      const asDocument = (text: string): SourceDocument => ({ prompt: '', text });
      return {
        line: (line) => ({ ok: true, documents: documents.line(line).map(asDocument) }),
        end: () => documents.end().map(asDocument),
      };
    }
    case 'jsonl_text':
      return rowReader(textRow);
    case 'jsonl_prompt_completion':
      return rowReader(completionRow);
    case 'jsonl_preferences':
      throw new TrainyardError('DatasetFormatUnfit', 'pairs of preference are for rlhf, not for training on text');
    default:
      return assertNever(format);
  }
}

type Row = Readonly<Record<string, unknown>>;

function rowReader(ofRow: (row: Row) => LineOutcome): DocumentReader {
  return {
    line(line) {
      if (line.trim() === '') return NOTHING;
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch (error) {
        return refuse(LINE_FAULT.notJson, `not JSON: ${shortened((error as SyntaxError).message)}`);
      }
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        return refuse(LINE_FAULT.notAnObject, 'not a JSON object');
      return ofRow(value as Row);
    },
    end: () => [],
  };
}

function textRow(row: Row): LineOutcome {
  const text = stringMember(row, 'text');
  return typeof text === 'string' ? { ok: true, documents: [{ prompt: '', text }] } : text;
}

function completionRow(row: Row): LineOutcome {
  const prompt = stringMember(row, 'prompt');
  if (typeof prompt !== 'string') return prompt;
  const text = stringMember(row, 'completion');
  if (typeof text !== 'string') return text;
  if (text.trim() === '') return refuse(LINE_FAULT.emptyCompletion, '"completion" is empty');
  return { ok: true, documents: [{ prompt, text }] };
}

/** The member, or the outcome that says what is wrong with it. */
function stringMember(row: Row, name: string): string | (LineOutcome & { ok: false }) {
  if (!Object.hasOwn(row, name)) return refuse(LINE_FAULT.missingField, `"${name}" is missing`);
  const value = row[name];
  if (typeof value !== 'string') return refuse(LINE_FAULT.wrongFieldType, `"${name}" is not a string`);
  if (!value.isWellFormed()) return refuse(LINE_FAULT.loneSurrogate, `"${name}" holds half of a surrogate pair`);
  return value;
}

const refuse = (fault: LineFault, message: string): LineOutcome & { ok: false } => ({ ok: false, fault, message });

/** Parser messages quote the input; a report of 100 lines must stay small. */
const MAX_MESSAGE_CHARACTERS = 160;
const shortened = (message: string): string => message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed();
