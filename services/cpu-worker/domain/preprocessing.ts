import type { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import type { PreparedDocument } from '#lib/datasets/documents/prepared-document.ts';
import type { SourceDocument } from '#lib/datasets/documents/source-document.ts';
import { nearDuplicateIndex } from './near-duplicates.ts';

/** Lower-case hex SHA-256 of the UTF-8 bytes of a text; passed in because the domain does no cryptography itself. */
export type TextDigest = (text: string) => string;

export const FATE = {
  train: 'train',
  validation: 'validation',
  tooShort: 'tooShort',
  /** The prompt alone fills `maxCharacters`, so nothing of the completion would be left. */
  tooLong: 'tooLong',
  exactDuplicate: 'exactDuplicates',
  nearDuplicate: 'nearDuplicates',
} as const;
/** What became of a document; also the name under which it is counted. */
export type Fate = (typeof FATE)[keyof typeof FATE];

/**
 * `train` or `validation` by the digest of seed and prompt (of the text where there is no prompt). Depends on nothing else, so a
 * document stays in its split whatever is added, removed or reordered, completions of one prompt never part, and a larger
 * fraction only adds to the validation split.
 */
export function splitOf(
  { prompt, text }: SourceDocument,
  { seed, validationFraction }: PreprocessConfig,
  digest: TextDigest,
): 'train' | 'validation' {
  // 48 bits of the digest as a number in [0, 1).
  const unit = Number.parseInt(digest(`${seed}\n${prompt === '' ? text : prompt}`).slice(0, 12), 16) / 2 ** 48;
  return unit < validationFraction ? FATE.validation : FATE.train;
}

/** Decides the fate of prepared documents one after the other. */
export interface DocumentSelection {
  /** The first of several equal or similar documents is kept. */
  decide(document: PreparedDocument): Fate;
}

/** Exact-duplicate memory: 32 of 64 hex digits (128 bits) leave no chance of a false match and half the memory. */
const DIGEST_PREFIX = 32;

/** A selection for one dataset; rules in the order length, exact duplicate, near duplicate, split. */
export function documentSelection(config: PreprocessConfig, digest: TextDigest): DocumentSelection {
  const exact = new Set<string>();
  const near = nearDuplicateIndex(config.nearDuplicateThreshold, config.seed);
  return {
    decide(document) {
      const { prompt, text, cut } = document;
      if (text.trim() === '') return cut ? FATE.tooLong : FATE.tooShort;
      if (prompt.length + text.length < config.minCharacters) return FATE.tooShort;
      // The length makes the boundary part of the key: ("ab", "c") is not ("a", "bc").
      const key = digest(`${prompt.length}\n${prompt}${text}`).slice(0, DIGEST_PREFIX);
      if (exact.has(key)) return FATE.exactDuplicate;
      exact.add(key);
      if (near.isNearDuplicate(document)) return FATE.nearDuplicate;
      return splitOf(document, config, digest);
    },
  };
}
