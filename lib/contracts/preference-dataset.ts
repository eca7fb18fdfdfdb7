import { type Static, Type } from '#typebox';

const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Count = Type.Integer({ minimum: 0 });

/** A file of token ids and the file that says where its rows are cut; names are relative to the folder of `dataset.json`. */
const TokenRowShard = Type.Object(
  {
    file: Type.String({ minLength: 1 }),
    sha256: Sha256,
    lengthsFile: Type.String({ minLength: 1 }),
    lengthsSha256: Sha256,
    rows: Count,
    tokens: Count,
  },
  { additionalProperties: false },
);
export type TokenRowShard = Static<typeof TokenRowShard>;

const TokenRowSplit = Type.Object(
  { rows: Count, tokens: Count, shards: Type.Array(TokenRowShard) },
  { additionalProperties: false },
);
export type TokenRowSplit = Static<typeof TokenRowSplit>;

const tokenRows = <const Format extends string>(format: Format) =>
  Type.Object(
    {
      format: Type.Literal(format),
      /** sha256 of the source dataset version these rows were made from, lower-case hex. */
      sourceDigest: Sha256,
      /** sha256 of the canonical JSON of the configuration they were made with. */
      configDigest: Sha256,
      tokenizer: Type.Object({
        vocabularySize: Type.Integer({ minimum: 257, maximum: 65_536 }),
        endOfTextId: Count,
        sha256: Sha256,
      }),
      splits: Type.Object({ train: TokenRowSplit, validation: TokenRowSplit }),
    },
    { additionalProperties: false },
  );

/**
 * Preference pairs as token ids: a folder described by `dataset.json` (this schema), written and read by `lib/datasets`. A row is
 * `prompt, chosen, rejected`, none of them empty; both completions follow the same prompt.
 *
 * - `tokenizer.json`: as in a `TokenizedDataset`, normally the very file of the base model.
 * - `<split>-NNNNN.bin`: token ids, unsigned 16-bit little-endian: prompt, chosen, rejected of row 0, then of row 1, and so on.
 * - `<split>-NNNNN.lengths.bin`: three unsigned 32-bit little-endian numbers a row, the lengths of its three parts. They are the
 *   masks: what belongs to a completion counts in losses and rewards, what belongs to the prompt does not.
 *
 * A completion that ends its text ends with `endOfTextId`; one that was cut off does not. The splits share no prompt.
 */
export const PreferenceDataset = tokenRows('trainyard-preferences/1');
export type PreferenceDataset = Static<typeof PreferenceDataset>;

/** Prompts for rollouts: the same folder with one part a row, `prompt`, and one length a row. */
export const PromptDataset = tokenRows('trainyard-prompts/1');
export type PromptDataset = Static<typeof PromptDataset>;

/** The parts of a row by format, in the order in which they lie in the files. */
export const ROW_PARTS = {
  'trainyard-preferences/1': ['prompt', 'chosen', 'rejected'],
  'trainyard-prompts/1': ['prompt'],
} as const;
export type TokenRowFormat = keyof typeof ROW_PARTS;
