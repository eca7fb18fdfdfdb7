import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { DEFAULT_VALIDATION_LIMITS, type ValidationLimits } from '#lib/datasets/documents/dataset-limits.ts';
import { readVerifiedLines } from '#lib/datasets/verified-lines.ts';
import { type DatasetFindings, datasetInspection, judgeDataset } from '../domain/validation.ts';

export interface ValidateDatasetFile {
  /** A local file. */
  readonly path: string;
  readonly format: DatasetFormat;
  /** Digest recorded at the upload, lower-case hex. */
  readonly expectedSha256: string;
  readonly limits?: Partial<ValidationLimits> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes read and bytes in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface ValidationReport extends Omit<DatasetFindings, 'malformedLines' | 'allEqual'> {
  readonly format: DatasetFormat;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Reads a dataset once and says what is in it, or throws the TrainyardError that says why it cannot be used: `DatasetMissing`,
 * `DatasetDigestMismatch`, `DatasetTooLarge`, `DatasetBinary`, `DatasetInvalidUtf8`, `DatasetMalformedLine` (`fields` names the
 * first 100 lines, `details.total` counts all), `DatasetEmpty`, `DatasetDuplicateOnly` or `DatasetTooSmall`.
 * Memory does not grow with the file; changes nothing; aborting throws the signal's reason.
 */
export async function validateDatasetFile({
  path,
  format,
  expectedSha256,
  limits,
  signal,
  onProgress,
}: ValidateDatasetFile): Promise<ValidationReport> {
  const all = { ...DEFAULT_VALIDATION_LIMITS, ...limits };
  const inspection = datasetInspection(format);
  const { bytes, sha256 } = await readVerifiedLines(
    { path, expectedSha256, maxBytes: all.maxBytes, maxLineBytes: all.maxLineBytes, signal, onProgress },
    (line) => {
      inspection.line(line);
    },
  );
  const { malformedLines, allEqual, ...found } = inspection.end();
  const verdict = judgeDataset({ malformedLines, allEqual, ...found }, all);
  if (!verdict.ok)
    throw new TrainyardError(verdict.code, verdict.message, {
      details: { total: malformedLines.total, lines: malformedLines.first, documents: found.documents },
      fields: malformedLines.first.map(({ line, message }) => ({ pointer: `/lines/${line}`, message })),
    });
  return { format, bytes, sha256, ...found };
}
