import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Value } from '#typebox/value';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { TokenizedDataset, type TokenSplit } from '#lib/contracts/tokenized-dataset.ts';
import { required } from '../failure.ts';

/** A split in memory. `mask[i]` is 1 when token `i` counts in the loss; without a mask every token does. */
export interface Tokens {
  readonly ids: Uint16Array;
  readonly mask?: Uint8Array;
}

export interface TokenData {
  readonly description: TokenizedDataset;
  readonly train: Tokens;
  readonly validation: Tokens;
  /** The bytes of tokenizer.json, as they go into the output. */
  readonly tokenizerJson: string;
}

const TOKEN_BYTES = 2;

/**
 * Reads a folder that `TokenizedDataset` describes and checks sizes, digests, mask bytes and that every id is below the
 * vocabulary size. A missing file is `TrainerDataMissing`, everything else wrong is `TrainerBadData`.
 */
export async function loadTokenData(dir: string): Promise<TokenData> {
  const description = await readDescription(join(dir, 'dataset.json'));
  const tokenizerPath = join(dir, 'tokenizer.json');
  const tokenizer = await required(tokenizerPath, () => readFile(tokenizerPath));
  if (sha256(tokenizer) !== description.tokenizer.sha256) bad('tokenizer.json differs from its recorded SHA-256');
  return {
    description,
    train: await loadSplit(dir, description, description.splits.train),
    validation: await loadSplit(dir, description, description.splits.validation),
    tokenizerJson: tokenizer.toString('utf8'),
  };
}

async function readDescription(path: string): Promise<TokenizedDataset> {
  const text = await required(path, () => readFile(path, 'utf8'));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    bad(`dataset.json is not JSON: ${messageOf(error)}`);
  }
  if (Value.Check(TokenizedDataset, json)) return json;
  const first = Value.Errors(TokenizedDataset, json)[0];
  return bad(`dataset.json: ${first?.instancePath ?? ''} ${first?.message ?? 'does not match its schema'}`);
}

async function loadSplit(dir: string, description: TokenizedDataset, split: TokenSplit): Promise<Tokens> {
  const total = split.shards.reduce((sum, shard) => sum + shard.tokens, 0);
  if (total !== split.tokens) bad(`a split says ${split.tokens} tokens, its shards hold ${total}`);
  const ids = new Uint16Array(total);
  const mask = description.masked ? new Uint8Array(total) : undefined;
  let offset = 0;
  for (const shard of split.shards) {
    const bytes = await readShard(dir, shard.file, shard.tokens * TOKEN_BYTES);
    if (sha256(bytes) !== shard.sha256) bad(`${shard.file} differs from its recorded SHA-256`);
    for (let index = 0; index < shard.tokens; index += 1) {
      const id = (bytes[2 * index] ?? 0) | ((bytes[2 * index + 1] ?? 0) << 8);
      if (id >= description.tokenizer.vocabularySize) bad(`${shard.file}: token ${index} has id ${id}`);
      ids[offset + index] = id;
    }
    if (mask !== undefined) {
      if (shard.maskFile === undefined) bad(`${shard.file} has no mask file, but the data are masked`);
      const maskBytes = await readShard(dir, shard.maskFile, shard.tokens);
      if (maskBytes.some((value) => value > 1)) bad(`${shard.maskFile} holds bytes other than 0 and 1`);
      mask.set(maskBytes, offset);
    }
    offset += shard.tokens;
  }
  return mask === undefined ? { ids } : { ids, mask };
}

async function readShard(dir: string, name: string, size: number): Promise<Uint8Array> {
  if (basename(name) !== name || name === '..' || name === '.')
    bad(`shard name ${JSON.stringify(name)} is not a plain file name`);
  const path = join(dir, name);
  const bytes = await required(path, () => readFile(path));
  if (bytes.length !== size) bad(`${name} has ${bytes.length} bytes, expected ${size}`);
  return bytes;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function bad(message: string): never {
  throw new TrainyardError('TrainerBadData', message);
}
