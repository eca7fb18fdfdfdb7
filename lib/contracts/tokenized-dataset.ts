import { type Static, Type } from '#typebox';

const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });

/** One shard file of a split; names are relative to the folder that holds `dataset.json`. */
const TokenShard = Type.Object({
  file: Type.String({ minLength: 1 }),
  /** Present exactly when the dataset is `masked`. */
  maskFile: Type.Optional(Type.String({ minLength: 1 })),
  tokens: Type.Integer({ minimum: 0 }),
  sha256: Sha256,
});

/** One split; `bytes` is the UTF-8 length of its text, the denominator of bits per byte. */
const TokenSplit = Type.Object({
  documents: Type.Integer({ minimum: 0 }),
  tokens: Type.Integer({ minimum: 0 }),
  bytes: Type.Integer({ minimum: 0 }),
  shards: Type.Array(TokenShard),
});
export type TokenSplit = Static<typeof TokenSplit>;

/**
 * What `preprocess_data` writes and a trainer reads: a folder of token shards described by `dataset.json` (this schema).
 *
 * - `tokenizer.json`: byte-level BPE in the Hugging Face `tokenizers` format.
 * - `<split>-NNNNN.bin`: token ids, unsigned 16-bit little-endian, documents one after the other, each closed by `endOfTextId`.
 * - `<split>-NNNNN.mask.bin` (only when `masked`): one byte per token, 1 = the token counts in the loss (it belongs to a completion).
 */
export const TokenizedDataset = Type.Object({
  format: Type.Literal('trainyard-tokens/1'),
  /** sha256 of the source dataset version these tokens were made from, lower-case hex. */
  sourceDigest: Sha256,
  /** sha256 of the canonical JSON of the preprocessing configuration. */
  configDigest: Sha256,
  tokenizer: Type.Object({
    /** Token ids are `0 .. vocabularySize - 1`; they fit 16 bits. */
    vocabularySize: Type.Integer({ minimum: 257, maximum: 65_536 }),
    endOfTextId: Type.Integer({ minimum: 0 }),
    sha256: Sha256,
  }),
  /** True when prompt/completion rows were given: then every shard has a mask file. */
  masked: Type.Boolean(),
  splits: Type.Object({ train: TokenSplit, validation: TokenSplit }),
});
export type TokenizedDataset = Static<typeof TokenizedDataset>;
