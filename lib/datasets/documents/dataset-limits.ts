/** What a dataset must have, and the most it may have. */
export interface ValidationLimits {
  /** Fewer cannot be split. */
  readonly minDocuments: number;
  /** UTF-16 units of all documents; fewer do not fill a handful of training sequences. */
  readonly minCharacters: number;
  /** Bounds the memory of duplicate removal (about 600 bytes a document). */
  readonly maxDocuments: number;
  /** Bounds the memory of one document. */
  readonly maxLineBytes: number;
  /** The upload limit; a larger file came past the gateway. */
  readonly maxBytes: number;
}

export const DEFAULT_VALIDATION_LIMITS: ValidationLimits = {
  minDocuments: 2,
  minCharacters: 1_000,
  maxDocuments: 1_000_000,
  maxLineBytes: 16 * 1_024 * 1_024,
  maxBytes: 1_024 * 1_024 * 1_024,
};
