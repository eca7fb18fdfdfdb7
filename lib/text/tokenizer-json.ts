import { invariant, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { BYTE_CHARACTERS } from './byte-alphabet.ts';

/** The token that closes every document. */
export const END_OF_TEXT = '<|endoftext|>';

/** Most ids that fit the 16 bits of a token shard. */
export const MAX_VOCABULARY_SIZE = 65_536;

/** One exact number for a pair of 16-bit ids. */
export const pairKey = (left: number, right: number): number => left * MAX_VOCABULARY_SIZE + right;

/** A tokenizer as tables. */
export interface TokenizerModel {
  /** Id of each byte. */
  readonly byteIds: Uint16Array;
  /** Bytes of each id; empty for special tokens. */
  readonly tokenBytes: readonly Uint8Array[];
  /** Merge rank (0 = first) by `pairKey`. */
  readonly ranks: ReadonlyMap<number, number>;
  /** Resulting id by rank. */
  readonly mergedIds: Uint16Array;
  readonly endOfTextId: number;
}

/** Gives ids to merged tokens: the bytes have 0..255, then in order of making; equal bytes have one id. */
export class TokenIds {
  readonly #tokens = [...BYTE_CHARACTERS];
  readonly #ids = new Map(BYTE_CHARACTERS.map((token, id) => [token, id]));

  /** Tokens so far. */
  get size(): number {
    return this.#tokens.length;
  }

  tokens(): readonly string[] {
    return this.#tokens;
  }

  text(id: number): string {
    const token = this.#tokens[id];
    invariant(token !== undefined, `no token has id ${id}`);
    return token;
  }

  /** The id of two tokens joined. */
  merge(left: number, right: number): number {
    const token = this.text(left) + this.text(right);
    const known = this.#ids.get(token);
    if (known !== undefined) return known;
    this.#ids.set(token, this.#tokens.length);
    return this.#tokens.push(token) - 1;
  }
}

/**
 * `tokenizer.json` of the Hugging Face `tokenizers` library for merges learnt by a `BpeTrainer`: ids as in `TokenIds`, the last
 * one is `<|endoftext|>`. Equal merges give equal bytes.
 */
export function tokenizerJson(merges: readonly (readonly [left: number, right: number])[]): string {
  const ids = new TokenIds();
  const pairs = merges.map(([left, right]): [string, string] => {
    const pair: [string, string] = [ids.text(left), ids.text(right)];
    ids.merge(left, right);
    return pair;
  });
  const tokens = [...ids.tokens(), END_OF_TEXT];
  const document = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: tokens.length - 1,
        content: END_OF_TEXT,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: pairs,
    },
  };
  return `${JSON.stringify(document, null, 1)}\n`;
}

/** Reads the tables. Throws `TokenizerInvalid` unless it is a complete byte-level BPE without normaliser or prefix space. */
export function readTokenizerJson(json: string): TokenizerModel {
  const { vocabulary, merges, added } = parseParts(json);
  const tokens: string[] = [];
  for (const [token, id] of vocabulary) tokens[id] = token;
  const specials = new Set(added.map((token) => token.content));
  for (const token of added) tokens[token.id] = token.content;
  if (tokens.length > MAX_VOCABULARY_SIZE)
    throw invalid(`it has ${tokens.length} ids; at most ${MAX_VOCABULARY_SIZE} fit`);
  const hole = tokens.findIndex((token) => token === undefined);
  if (hole >= 0) throw invalid(`no token has id ${hole}`);
  const endOfText = added.find((token) => token.content === END_OF_TEXT);
  if (endOfText === undefined) throw invalid(`it has no added token ${END_OF_TEXT}`);

  const byteOf = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));
  const bytesOf = (token: string): Uint8Array =>
    Uint8Array.from(token, (character) => {
      const byte = byteOf.get(character);
      if (byte === undefined) throw invalid(`token ${JSON.stringify(token)} is not byte-level`);
      return byte;
    });
  const idOf = (token: string): number => {
    const id = vocabulary.get(token);
    if (id === undefined) throw invalid(`token ${JSON.stringify(token)} is missing`);
    return id;
  };
  const ranks = new Map<number, number>();
  merges.forEach(([left, right], rank) => {
    const key = pairKey(idOf(left), idOf(right));
    if (!ranks.has(key)) ranks.set(key, rank);
  });
  return {
    byteIds: Uint16Array.from(BYTE_CHARACTERS, idOf),
    tokenBytes: tokens.map((token) => (specials.has(token) ? new Uint8Array() : bytesOf(token))),
    ranks,
    mergedIds: Uint16Array.from(merges, ([left, right]) => idOf(left + right)),
    endOfTextId: endOfText.id,
  };
}

interface Parts {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  readonly added: readonly { readonly id: number; readonly content: string }[];
}

function parseParts(json: string): Parts {
  let root: Record<string, unknown>;
  try {
    root = asObject(JSON.parse(json), 'the document');
  } catch (error) {
    throw error instanceof TrainyardError ? error : invalid(`it is not JSON (${messageOf(error)})`);
  }
  const model = asObject(root['model'], 'model');
  if (model['type'] !== 'BPE') throw invalid('model.type is not BPE');
  if (root['normalizer'] !== null && root['normalizer'] !== undefined) throw invalid('it has a normalizer');
  const pre = asObject(root['pre_tokenizer'], 'pre_tokenizer');
  if (pre['type'] !== 'ByteLevel' || pre['add_prefix_space'] === true || pre['use_regex'] === false)
    throw invalid('pre_tokenizer is not ByteLevel with its own pattern and without prefix space');
  const vocabulary = new Map(
    Object.entries(asObject(model['vocab'], 'model.vocab')).map(([token, id]) => [token, asId(id)]),
  );
  return {
    vocabulary,
    merges: asArray(model['merges'], 'model.merges').map(asPair),
    added: asArray(root['added_tokens'] ?? [], 'added_tokens').map((token) => {
      const { id, content } = asObject(token, 'added_tokens[]');
      if (typeof content !== 'string') throw invalid('an added token has no content');
      return { id: asId(id), content };
    }),
  };
}

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${what} is not an object`);
  return value as Record<string, unknown>;
}

function asArray(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(`${what} is not a list`);
  return value;
}

function asId(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= MAX_VOCABULARY_SIZE)
    throw invalid(`${JSON.stringify(value)} is not an id below ${MAX_VOCABULARY_SIZE}`);
  return value;
}

/** A merge is a pair, or in older files one string with a space between the two. */
function asPair(value: unknown): readonly [string, string] {
  const [left, right, ...rest] = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : [];
  if (typeof left !== 'string' || typeof right !== 'string' || rest.length > 0)
    throw invalid(`${JSON.stringify(value)} is not a merge`);
  return [left, right];
}

const invalid = (why: string): TrainyardError =>
  new TrainyardError('TokenizerInvalid', `tokenizer.json cannot be used: ${why}`);
