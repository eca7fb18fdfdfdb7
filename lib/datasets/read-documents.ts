import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { DEFAULT_VALIDATION_LIMITS, type ValidationLimits } from './documents/dataset-limits.ts';
import { documentReader, type SourceDocument } from './documents/source-document.ts';
import { readVerifiedLines } from './verified-lines.ts';

export interface DatasetFile {
  /** A local file. */
  readonly path: string;
  readonly format: DatasetFormat;
  /** SHA-256 of the file, lower-case hex; verified while reading. */
  readonly sourceDigest: string;
  /** Of these only the lengths of file and line are used here. */
  readonly limits?: Partial<ValidationLimits> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes read and bytes in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Gives every document of a dataset file, as it stands there, in file order; holds one chunk or one document in memory. Throws what
 * `readVerifiedLines` throws, and `DatasetMalformedLine` at the first bad line. A file that is refused in the end may have been given in part.
 */
export async function readDocuments(file: DatasetFile, onDocument: (document: SourceDocument) => void): Promise<void> {
  const { path, format, sourceDigest, limits, signal, onProgress } = file;
  const reader = documentReader(format);
  const { maxBytes, maxLineBytes } = { ...DEFAULT_VALIDATION_LIMITS, ...limits };
  let line = 0;
  await readVerifiedLines(
    { path, expectedSha256: sourceDigest, maxBytes, maxLineBytes, signal, onProgress },
    (text) => {
      line += 1;
      const outcome = reader.line(text);
      if (!outcome.ok)
        throw new TrainyardError('DatasetMalformedLine', `line ${line} is malformed: ${outcome.message}`, {
          details: { total: 1, lines: [{ line, fault: outcome.fault, message: outcome.message }] },
          fields: [{ pointer: `/lines/${line}`, message: outcome.message }],
        });
      for (const document of outcome.documents) onDocument(document);
    },
  );
  for (const document of reader.end()) onDocument(document);
}
