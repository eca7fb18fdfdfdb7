import type { Readable } from 'node:stream';

/** Lower-case hex SHA-256 of an object's whole content. */
export type Sha256 = string;

export interface ObjectInfo {
  readonly key: string;
  readonly bytes: number;
  readonly sha256: Sha256;
}

export interface PutOptions {
  /** When given, the store refuses content with another digest (`ChecksumMismatch`) and keeps nothing of it. */
  readonly sha256?: Sha256;
  readonly signal?: AbortSignal;
}

/** `created: false` = the key already held the same content: no body was stored again. */
export interface PutResult extends ObjectInfo {
  readonly created: boolean;
}

/**
 * Objects that never change once written: a key is created once, by conditional create. Keys are `/`-separated segments of
 * `[A-Za-z0-9._=-]`, at most 1,024 bytes, no `.`/`..` segment; `x` and `x/y` never coexist (some S3 servers refuse it).
 *
 * Guarantees of every implementation (contract suite `object-store.contract.ts`):
 * - OS-1 `put` is atomic: a reader sees all of an object or nothing, also after kill -9 in the middle.
 * - OS-2 Same key, same content = skip (`created: false`); same key, other content = `ObjectExists`; of concurrent creators exactly one wins.
 * - OS-3 What `get`/`getToFile` deliver was compared with the recorded SHA-256; a difference is `ChecksumMismatch` before the last byte is delivered.
 * - OS-4 `putFile` of a large file resumes after an interruption with the parts that are already stored.
 * - OS-5 `list` returns keys in code-point order.
 */
export interface ObjectStore {
  /** Stores a small object (at most 64 MiB, held in memory). */
  put(key: string, body: Uint8Array, options?: PutOptions): Promise<PutResult>;
  /** Stores a stream of unknown length; `maxBytes` exceeded = `BodyTooLarge` and nothing stored. */
  putStream(key: string, body: Readable, options: PutOptions & { readonly maxBytes: number }): Promise<PutResult>;
  /** Stores a file, in parts when large; an interrupted call continues where it stopped. */
  putFile(key: string, path: string, options?: PutOptions): Promise<PutResult>;
  /** The whole object, verified. `ObjectNotFound` when absent. At most 64 MiB. */
  get(key: string): Promise<Buffer>;
  /** Streams the object into a file (written aside, fsynced, renamed), verified; an existing file with the right digest is kept. */
  getToFile(
    key: string,
    path: string,
    options?: { readonly sha256?: Sha256; readonly signal?: AbortSignal },
  ): Promise<ObjectInfo>;
  /** Null when absent. Does not read the content. */
  head(key: string): Promise<ObjectInfo | null>;
  /** Every object whose key starts with the prefix, in key order. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** Removes an object; absent is fine. For retention only. */
  delete(key: string): Promise<void>;
  /**
   * Removes what interrupted writers left and no key names, when nothing of it changed for `olderThanMs`; interrupted uploads lose their
   * parts by this, so give it hours. `now` is epoch milliseconds. Returns the bytes freed.
   */
  collectGarbage(bounds: { readonly olderThanMs: number; readonly now: number }): Promise<{ readonly bytes: number }>;
  /** Throws `StoreUnavailable` with the reason when the store cannot serve. */
  check(): Promise<void>;
}
