import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Value } from '#typebox/value';
import {
  PreferenceDataset,
  PromptDataset,
  ROW_PARTS,
  type TokenRowFormat,
  type TokenRowSplit,
} from '#lib/contracts/preference-dataset.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';

/** The rows of one split in memory. */
export interface TokenRows {
  readonly count: number;
  /** The parts of row `row` in the order of `ROW_PARTS`; views, not copies. */
  at(row: number): readonly Uint16Array[];
}

export interface TokenRowData {
  readonly description: PreferenceDataset | PromptDataset;
  readonly train: TokenRows;
  readonly validation: TokenRows;
  /** The bytes of tokenizer.json, as they go into a model folder. */
  readonly tokenizerJson: string;
}

const SCHEMAS = { 'trainyard-preferences/1': PreferenceDataset, 'trainyard-prompts/1': PromptDataset } as const;
const ID_BYTES = 2;
const LENGTH_BYTES = 4;

/**
 * Reads a folder of the given format and checks format, sizes, digests, that every id is below the vocabulary size and that the
 * lengths add up and none is zero. A missing file is `TrainerDataMissing`, everything else wrong `TrainerBadData`.
 */
export async function readTokenRows(dir: string, format: TokenRowFormat): Promise<TokenRowData> {
  const description = await readDescription(join(dir, 'dataset.json'), format);
  const tokenizer = await required(join(dir, 'tokenizer.json'));
  if (sha256(tokenizer) !== description.tokenizer.sha256) bad('tokenizer.json differs from its recorded SHA-256');
  const { vocabularySize } = description.tokenizer;
  const { train, validation } = description.splits;
  return {
    description,
    train: await readSplit(dir, format, train, vocabularySize),
    validation: await readSplit(dir, format, validation, vocabularySize),
    tokenizerJson: tokenizer.toString('utf8'),
  };
}

async function readDescription(path: string, format: TokenRowFormat): Promise<PreferenceDataset | PromptDataset> {
  const text = (await required(path)).toString('utf8');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    bad(`dataset.json is not JSON: ${messageOf(error)}`);
  }
  const schema = SCHEMAS[format];
  if (Value.Check(schema, json)) return json;
  const first = Value.Errors(schema, json)[0];
  return bad(`dataset.json is not of format ${format}: ${first?.instancePath ?? ''} ${first?.message ?? ''}`);
}

async function readSplit(
  dir: string,
  format: TokenRowFormat,
  split: TokenRowSplit,
  vocabularySize: number,
): Promise<TokenRows> {
  const parts = ROW_PARTS[format].length;
  const rows = split.shards.reduce((sum, shard) => sum + shard.rows, 0);
  const total = split.shards.reduce((sum, shard) => sum + shard.tokens, 0);
  if (rows !== split.rows || total !== split.tokens) bad('a split and its shards differ in rows or tokens');
  const ids = new Uint16Array(total);
  /** Part `p` of row `r` is `ids[ends[r * parts + p] .. ends[r * parts + p + 1]]`. */
  const ends = new Float64Array(rows * parts + 1);
  let token = 0;
  let part = 0;
  for (const shard of split.shards) {
    const begin = token;
    const bytes = await readShard(dir, shard.file, shard.tokens * ID_BYTES, shard.sha256);
    for (let at = 0; at < shard.tokens; at += 1, token += 1) {
      const id = bytes.readUInt16LE(at * ID_BYTES);
      if (id >= vocabularySize) bad(`${shard.file}: token ${at} has id ${id}`);
      ids[token] = id;
    }
    const size = shard.rows * parts * LENGTH_BYTES;
    const lengths = await readShard(dir, shard.lengthsFile, size, shard.lengthsSha256);
    let end = begin;
    for (let at = 0; at < shard.rows * parts; at += 1) {
      const length = lengths.readUInt32LE(at * LENGTH_BYTES);
      if (length === 0) bad(`${shard.lengthsFile}: row ${Math.floor(at / parts)} has an empty part`);
      end += length;
      part += 1;
      ends[part] = end;
    }
    if (end !== token) bad(`${shard.lengthsFile}: the lengths sum to ${end - begin}, not to ${shard.tokens}`);
  }
  return {
    count: rows,
    at: (row) =>
      Array.from({ length: parts }, (_, index) =>
        ids.subarray(ends[row * parts + index] ?? 0, ends[row * parts + index + 1] ?? 0),
      ),
  };
}

async function readShard(dir: string, name: string, size: number, digest: string): Promise<Buffer> {
  if (basename(name) !== name || name === '..' || name === '.')
    bad(`shard name ${JSON.stringify(name)} is not a plain file name`);
  const bytes = await required(join(dir, name));
  if (bytes.length !== size) bad(`${name} has ${bytes.length} bytes, expected ${size}`);
  if (sha256(bytes) !== digest) bad(`${name} differs from its recorded SHA-256`);
  return bytes;
}

async function required(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EISDIR') throw error;
    throw new TrainyardError('TrainerDataMissing', `${path} does not exist`, { cause: error });
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function bad(message: string): never {
  throw new TrainyardError('TrainerBadData', message);
}
