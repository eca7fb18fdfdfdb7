import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type PreferenceDataset,
  type PromptDataset,
  ROW_PARTS,
  type TokenRowFormat,
  type TokenRowShard,
  type TokenRowSplit,
} from '#lib/contracts/preference-dataset.ts';
import { invariant } from '#lib/kernel/errors.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import type { SplitName } from './prompt-split.ts';

/** A shard is closed once it has as many tokens (8 MiB): few files, and a re-upload after a fault repeats little. */
const SHARD_TOKENS = 4_194_304;

/** A row on its way into a folder: its parts in the order of `ROW_PARTS`, none empty. */
export interface SplitRow {
  readonly split: SplitName;
  readonly parts: readonly Uint16Array[];
}

export interface TokenRowFolder {
  /** Made if absent; files of an earlier attempt in it are removed. */
  readonly dir: string;
  readonly format: TokenRowFormat;
  readonly sourceDigest: string;
  readonly configDigest: string;
  readonly tokenizerJson: string;
  /** Taken one after the other: what is not in an open shard is not held. */
  readonly rows: Iterable<SplitRow> | AsyncIterable<SplitRow>;
  readonly shardTokens?: number;
}

/**
 * Writes a folder that `PreferenceDataset` or `PromptDataset` describes, `dataset.json` last. The same rows give the same bytes.
 * Holds one open shard a split in memory. A row with another number of parts, or an empty one, is a bug of the caller.
 */
export async function writeTokenRows(folder: TokenRowFolder): Promise<PreferenceDataset | PromptDataset> {
  const { dir, format, tokenizerJson } = folder;
  await clearFolder(dir);
  const { vocabularySize, endOfTextId } = loadTokenizer(tokenizerJson);
  await writeFile(join(dir, 'tokenizer.json'), tokenizerJson);
  const shardTokens = folder.shardTokens ?? SHARD_TOKENS;
  const writers = {
    train: new RowShardWriter(dir, 'train', shardTokens),
    validation: new RowShardWriter(dir, 'validation', shardTokens),
  };
  const partsOfRow = ROW_PARTS[format].length;
  for await (const { split, parts } of folder.rows) {
    invariant(parts.length === partsOfRow, `a row of ${format} has ${partsOfRow} parts`);
    for (const part of parts) {
      invariant(part.length > 0, `a part of a row of ${format} is empty`);
      for (const id of part) invariant(id < vocabularySize, `token id ${id} is outside the vocabulary`);
    }
    await writers[split].add(parts);
  }
  const dataset = {
    format,
    sourceDigest: folder.sourceDigest,
    configDigest: folder.configDigest,
    tokenizer: { vocabularySize, endOfTextId, sha256: sha256(tokenizerJson) },
    splits: { train: await writers.train.close(), validation: await writers.validation.close() },
  };
  await writeFile(join(dir, 'dataset.json'), `${JSON.stringify(dataset, null, 2)}\n`);
  return dataset;
}

class RowShardWriter {
  private readonly dir: string;
  private readonly split: SplitName;
  private readonly shardTokens: number;
  private readonly shards: TokenRowShard[] = [];
  private open: Uint16Array[] = [];
  private lengths: number[] = [];
  private openRows = 0;
  private openTokens = 0;

  constructor(dir: string, split: SplitName, shardTokens: number) {
    this.dir = dir;
    this.split = split;
    this.shardTokens = shardTokens;
  }

  async add(parts: readonly Uint16Array[]): Promise<void> {
    for (const part of parts) {
      this.open.push(part);
      this.lengths.push(part.length);
      this.openTokens += part.length;
    }
    this.openRows += 1;
    if (this.openTokens >= this.shardTokens) await this.writeOpen();
  }

  async close(): Promise<TokenRowSplit> {
    if (this.openRows > 0) await this.writeOpen();
    const sum = (of: (shard: TokenRowShard) => number): number =>
      this.shards.reduce((total, shard) => total + of(shard), 0);
    return { rows: sum(({ rows }) => rows), tokens: sum(({ tokens }) => tokens), shards: this.shards };
  }

  private async writeOpen(): Promise<void> {
    const name = `${this.split}-${String(this.shards.length).padStart(5, '0')}`;
    // Little-endian as the contract says: every platform Node 24 is built for but s390x is.
    const tokens = new Uint16Array(this.openTokens);
    let at = 0;
    for (const part of this.open) {
      tokens.set(part, at);
      at += part.length;
    }
    const lengths = Uint32Array.from(this.lengths);
    this.shards.push({
      file: `${name}.bin`,
      sha256: await this.write(`${name}.bin`, new Uint8Array(tokens.buffer)),
      lengthsFile: `${name}.lengths.bin`,
      lengthsSha256: await this.write(`${name}.lengths.bin`, new Uint8Array(lengths.buffer)),
      rows: this.openRows,
      tokens: this.openTokens,
    });
    this.open = [];
    this.lengths = [];
    this.openRows = 0;
    this.openTokens = 0;
  }

  private async write(name: string, bytes: Uint8Array): Promise<string> {
    await writeFile(join(this.dir, name), bytes);
    return sha256(bytes);
  }
}

/** Names this module writes; anything else in the folder is not ours to remove. */
const OWN_FILE = /^(?:dataset\.json|tokenizer\.json|(?:train|validation)-\d{5}(?:\.lengths)?\.bin)$/;

async function clearFolder(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const name of await readdir(dir)) if (OWN_FILE.test(name)) await rm(join(dir, name));
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
