import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import type { ValidationLimits } from '#lib/datasets/documents/dataset-limits.ts';
import { normaliseText } from '#lib/datasets/documents/normalisation.ts';
import { documentReader, type LineFault, type SourceDocument } from '#lib/datasets/documents/source-document.ts';

/** Malformed lines listed one by one; the rest are counted. 100 show a pattern and keep the answer below 32 kB. */
const MAX_LISTED_LINES = 100;

interface MalformedLine {
  /** From 1. */
  readonly line: number;
  readonly fault: LineFault;
  readonly message: string;
}

/** What was found in a dataset, by counting. */
export interface DatasetFindings {
  readonly lines: number;
  /** Documents with text; blank ones are counted apart. */
  readonly documents: number;
  readonly blankDocuments: number;
  /** UTF-16 units of prompts and texts. */
  readonly characters: number;
  readonly longestDocumentCharacters: number;
  readonly malformedLines: { readonly total: number; readonly first: readonly MalformedLine[] };
  /** True when there are two documents or more and all are equal after normalisation. */
  readonly allEqual: boolean;
}

export interface DatasetInspection {
  /** Takes the next line, in order, without its line feed. */
  line(line: string): void;
  /** Closes the last document. Call once. */
  end(): DatasetFindings;
}

/** Counts what is in a dataset; memory does not grow with its size. */
export function datasetInspection(format: DatasetFormat): DatasetInspection {
  const reader = documentReader(format);
  const listed: MalformedLine[] = [];
  let [lines, documents, blankDocuments, characters, longest, malformed] = [0, 0, 0, 0, 0, 0];
  let first: string | null = null;
  let differing = false;

  const note = ({ prompt, text }: SourceDocument): void => {
    const length = prompt.length + text.length;
    if (prompt.trim() === '' && text.trim() === '') {
      blankDocuments += 1;
      return;
    }
    documents += 1;
    characters += length;
    longest = Math.max(longest, length);
    if (differing) return;
    const normal = JSON.stringify([normaliseText(prompt).trim(), normaliseText(text).trim()]);
    first ??= normal;
    differing = first !== normal;
  };
  return {
    line(line) {
      lines += 1;
      const outcome = reader.line(line);
      if (outcome.ok) {
        for (const document of outcome.documents) note(document);
        return;
      }
      malformed += 1;
      if (listed.length < MAX_LISTED_LINES)
        listed.push({ line: lines, fault: outcome.fault, message: outcome.message });
    },
    end() {
      for (const document of reader.end()) note(document);
      return {
        lines,
        documents,
        blankDocuments,
        characters,
        longestDocumentCharacters: longest,
        malformedLines: { total: malformed, first: listed },
        allEqual: documents >= 2 && !differing,
      };
    },
  };
}

export type Verdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** Whether a dataset with these findings can be trained on, and if not the first reason: what to mend first comes first. */
export function judgeDataset(found: DatasetFindings, limits: ValidationLimits): Verdict {
  const refuse = (code: ErrorCode, message: string): Verdict => ({ ok: false, code, message });
  const { malformedLines, documents, characters } = found;
  const worst = malformedLines.first[0];
  if (worst !== undefined)
    return refuse(
      'DatasetMalformedLine',
      `${malformedLines.total} of ${found.lines} lines are malformed; the first is line ${worst.line}: ${worst.message}`,
    );
  if (documents === 0) return refuse('DatasetEmpty', 'the dataset holds no document with text');
  if (documents > limits.maxDocuments)
    return refuse('DatasetTooLarge', `${documents} documents, at most ${limits.maxDocuments} are allowed`);
  if (found.allEqual) return refuse('DatasetDuplicateOnly', `all ${documents} documents are the same`);
  if (documents < limits.minDocuments)
    return refuse('DatasetTooSmall', `${documents} documents, at least ${limits.minDocuments} are needed`);
  if (characters < limits.minCharacters)
    return refuse('DatasetTooSmall', `${characters} characters, at least ${limits.minCharacters} are needed`);
  return { ok: true };
}
