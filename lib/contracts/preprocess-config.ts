import { type Static, Type } from '#typebox';

/** How `preprocess_data` turns a dataset version into tokens. The same config and the same input give the same bytes. */
export const PreprocessConfig = Type.Object(
  {
    /** Tokens of a tokenizer trained on the train split; ignored when the base brings its own. */
    vocabularySize: Type.Integer({ minimum: 257, maximum: 65_536, default: 1024 }),
    /** Share of documents (by hash) held out for validation. */
    validationFraction: Type.Number({ exclusiveMinimum: 0, maximum: 0.5, default: 0.1 }),
    /** Shorter documents are dropped. */
    minCharacters: Type.Integer({ minimum: 1, default: 16 }),
    /** Longer documents are cut. */
    maxCharacters: Type.Optional(Type.Integer({ minimum: 16 })),
    /** Estimated Jaccard similarity of 5-word shingles from which a document counts as a near duplicate; 1 = off. */
    nearDuplicateThreshold: Type.Number({ minimum: 0.5, maximum: 1, default: 0.9 }),
    /** Seeds the split and the MinHash permutations. */
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 1 }),
  },
  { additionalProperties: false },
);
export type PreprocessConfig = Static<typeof PreprocessConfig>;
