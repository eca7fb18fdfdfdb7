import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

/** Written at once: few system calls, and little in memory. */
const BATCH_CHARACTERS = 1_024 * 1_024;

export interface WrittenText {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Writes a local file from pieces of text and knows its digest. Synchronous, as the readers that call it are: it writes about as much as they
 * read in a turn. Call `close` or `abandon` once.
 */
export class HashedFile {
  readonly #path: string;
  readonly #file: number;
  readonly #hash = createHash('sha256');
  #open: string[] = [];
  #openCharacters = 0;
  #bytes = 0;

  constructor(path: string) {
    this.#path = path;
    this.#file = openSync(path, 'w');
  }

  add(text: string): void {
    this.#open.push(text);
    this.#openCharacters += text.length;
    if (this.#openCharacters >= BATCH_CHARACTERS) this.#write();
  }

  close(): WrittenText {
    this.#write();
    closeSync(this.#file);
    return { path: this.#path, bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }

  /** Closes a file that nobody will read. */
  abandon(): void {
    closeSync(this.#file);
  }

  #write(): void {
    const body = Buffer.from(this.#open.join(''), 'utf8');
    this.#open = [];
    this.#openCharacters = 0;
    this.#hash.update(body);
    for (let at = 0; at < body.length; ) at += writeSync(this.#file, body, at);
    this.#bytes += body.length;
  }
}
