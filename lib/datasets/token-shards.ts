import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenSplit } from '#lib/contracts/tokenized-dataset.ts';

/** A shard is closed once it has as many tokens (8 MiB): few files, and a re-upload after a fault repeats little. */
const SHARD_TOKENS = 4_194_304;

export interface WrittenFile {
  /** Relative to the dataset's folder. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Writes one split as `<split>-NNNNN.bin` and, when masked, `<split>-NNNNN.mask.bin`. A document never spans two shards.
 * Writes synchronously: it is made for a worker thread, between encodings that block as long.
 */
export class TokenShardWriter {
  readonly files: WrittenFile[] = [];
  readonly #folder: string;
  readonly #split: 'train' | 'validation';
  readonly #masked: boolean;
  readonly #shardTokens: number;
  readonly #shards: TokenSplit['shards'] = [];
  #open: { tokens: Uint16Array; masked: number }[] = [];
  #openTokens = 0;
  #documents = 0;
  #tokens = 0;
  #bytes = 0;

  constructor(folder: string, split: 'train' | 'validation', masked: boolean, shardTokens = SHARD_TOKENS) {
    this.#folder = folder;
    this.#split = split;
    this.#masked = masked;
    this.#shardTokens = shardTokens;
  }

  /** Adds a document: its tokens closed by end-of-text, how many of the first do not count in the loss, its UTF-8 length. */
  add(tokens: Uint16Array, maskedTokens: number, bytes: number): void {
    this.#open.push({ tokens, masked: maskedTokens });
    this.#openTokens += tokens.length;
    this.#documents += 1;
    this.#tokens += tokens.length;
    this.#bytes += bytes;
    if (this.#openTokens >= this.#shardTokens) this.#writeOpen();
  }

  /** Writes what is left and describes the split. */
  close(): TokenSplit {
    if (this.#openTokens > 0) this.#writeOpen();
    return { documents: this.#documents, tokens: this.#tokens, bytes: this.#bytes, shards: this.#shards };
  }

  #writeOpen(): void {
    const name = `${this.#split}-${String(this.#shards.length).padStart(5, '0')}`;
    const tokens = new Uint16Array(this.#openTokens);
    const mask = new Uint8Array(this.#masked ? this.#openTokens : 0);
    let at = 0;
    for (const document of this.#open) {
      tokens.set(document.tokens, at);
      if (this.#masked) mask.fill(1, at + document.masked, at + document.tokens.length);
      at += document.tokens.length;
    }
    this.#open = [];
    this.#openTokens = 0;
    // Little-endian as the contract says: every platform Node 24 is built for but s390x is.
    const body = Buffer.from(tokens.buffer);
    const { sha256 } = this.#write(`${name}.bin`, body);
    if (this.#masked) this.#write(`${name}.mask.bin`, mask);
    this.#shards.push({
      file: `${name}.bin`,
      ...(this.#masked ? { maskFile: `${name}.mask.bin` } : {}),
      tokens: tokens.length,
      sha256,
    });
  }

  #write(path: string, body: Uint8Array): WrittenFile {
    const file = writeDatasetFile(this.#folder, path, body);
    this.files.push(file);
    return file;
  }
}

/** Writes a file of a dataset's folder and describes it. */
export function writeDatasetFile(folder: string, path: string, body: Uint8Array | string): WrittenFile {
  writeFileSync(join(folder, path), body);
  return {
    path,
    bytes: typeof body === 'string' ? Buffer.byteLength(body) : body.length,
    sha256: createHash('sha256').update(body).digest('hex'),
  };
}
