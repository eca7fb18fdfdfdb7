import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import { TrainyardError } from '#lib/kernel/errors.ts';
import {
  asOperatingFailure,
  isErrno,
  makeFolder,
  onWorkspace,
  readRange,
  sha256Of,
  writeRange,
} from './durable-files.ts';
import { deliverFile, refuseDamage } from './file-delivery.ts';
import { collectGarbage, type GarbageReport } from './file-garbage.ts';
import {
  contentPathOf,
  type FileLayout,
  hasContent,
  type LinkedObject,
  newContentName,
  openLayout,
  readObjectLink,
  unlinkIfPresent,
  unlinkObject,
} from './file-layout.ts';
import { listObjects } from './file-listing.ts';
import { findSame, publishContent, publishStaged } from './file-publish.ts';
import { copyInParts, planParts, removeUpload, type StoreWrite } from './file-upload.ts';
import { BodyFailure, expectDigest, piecesOf, tooLarge } from './incoming-body.ts';
import { MAX_IN_MEMORY_BYTES, PART_BYTES } from './limits.ts';
import { checkKey, checkPrefix } from './object-keys.ts';
import type { ObjectInfo, ObjectStore, PutOptions, PutResult, Sha256 } from './port.ts';

/** An upload starts again when another process published or collected its folder meanwhile; that cannot go on. */
const UPLOAD_TRIES = 3;

export interface FileObjectStoreOptions {
  /** Folder of the store; made when absent. */
  readonly root: string;
  /** Bytes of a part of `putFile`, default 8 MiB; a file of at most that size is stored in one step. */
  readonly partBytes?: number;
  /** Called after each body or part that was written (not for reused parts). What it throws fails the call. */
  readonly onWrite?: (write: StoreWrite) => void;
}

/** The object store in a folder (`file:///dir`); its layout and the reasons are in `file-layout.ts`. Many processes may share it. */
export class FileObjectStore implements ObjectStore {
  readonly #root: string;
  readonly #partBytes: number;
  readonly #onWrite: ((write: StoreWrite) => void) | undefined;
  #layout: Promise<FileLayout> | null = null;

  constructor(options: FileObjectStoreOptions) {
    this.#root = options.root;
    this.#partBytes = options.partBytes ?? PART_BYTES;
    this.#onWrite = options.onWrite;
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutResult> {
    checkKey(key);
    if (body.length > MAX_IN_MEMORY_BYTES) throw tooLarge(key, MAX_IN_MEMORY_BYTES);
    return this.#run(key, (layout) => this.#putBody(layout, key, body, options));
  }

  async putStream(
    key: string,
    body: Readable,
    options: PutOptions & { readonly maxBytes: number },
  ): Promise<PutResult> {
    checkKey(key);
    if (options.signal !== undefined) addAbortSignal(options.signal, body);
    return this.#run(key, (layout) =>
      stage(layout, async (file, path) => {
        const hash = createHash('sha256');
        let bytes = 0;
        for await (const chunk of piecesOf(body)) {
          if (bytes + chunk.length > options.maxBytes) throw tooLarge(key, options.maxBytes);
          hash.update(chunk);
          await writeRange(file, chunk, bytes);
          bytes += chunk.length;
        }
        const info = { key, bytes, sha256: hash.digest('hex') };
        expectDigest(info, options.sha256);
        this.#onWrite?.({ key, part: 1, bytes });
        await file.sync();
        return publishStaged(layout, info, path);
      }),
    );
  }

  async putFile(key: string, path: string, options: PutOptions = {}): Promise<PutResult> {
    checkKey(key);
    return this.#run(key, async (layout) => {
      // The caller's digest is enough to see that nothing needs to be read.
      if (options.sha256 !== undefined) {
        const known = await findSame(layout, { key, sha256: options.sha256 });
        if (known !== null) return known;
      }
      const { size } = await onWorkspace(`reading ${path}`, () => stat(path));
      if (size > this.#partBytes) return this.#putParts(layout, key, path, options);
      const body = await onWorkspace(`reading ${path}`, () => readFile(path));
      return this.#putBody(layout, key, body, options);
    });
  }

  async get(key: string): Promise<Buffer> {
    checkKey(key);
    return this.#withContent(key, async ({ info }, file) => {
      if (info.bytes > MAX_IN_MEMORY_BYTES) throw tooLarge(key, MAX_IN_MEMORY_BYTES);
      // One byte more than recorded, so that a longer file shows.
      const body = await readRange(file, Buffer.allocUnsafe(info.bytes + 1), info.bytes + 1, 0);
      refuseDamage(info, body.length, sha256Of(body));
      return body;
    });
  }

  async getToFile(
    key: string,
    path: string,
    options: { readonly sha256?: Sha256; readonly signal?: AbortSignal } = {},
  ): Promise<ObjectInfo> {
    checkKey(key);
    return this.#withContent(key, async ({ info }, file) => {
      expectDigest(info, options.sha256);
      await deliverFile(file, info, path, options.signal);
      return info;
    });
  }

  async head(key: string): Promise<ObjectInfo | null> {
    checkKey(key);
    return this.#run(key, async (layout) => {
      const object = await readObjectLink(layout, key);
      return object !== null && (await hasContent(object)) ? object.info : null;
    });
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    try {
      yield* listObjects(await this.#open(), prefix);
    } catch (error) {
      throw asOperatingFailure(error, 'StoreUnavailable', `list ${prefix}`);
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await this.#run(key, async (layout) => {
      const object = await readObjectLink(layout, key);
      if (object !== null) await unlinkObject(layout, object);
    });
  }

  async check(): Promise<void> {
    await this.#run(this.#root, (layout) => stage(layout, (file) => file.sync()));
  }

  /**
   * Removes what interrupted writers left (staged bodies, parts, content that no key names) when nothing of it changed for
   * `olderThanMs`. Interrupted uploads lose their parts by this, so give it hours. `now` is epoch milliseconds.
   */
  async collectGarbage(bounds: { readonly olderThanMs: number; readonly now: number }): Promise<GarbageReport> {
    return this.#run(this.#root, (layout) => collectGarbage(layout, bounds.now - bounds.olderThanMs));
  }

  async #putBody(layout: FileLayout, key: string, body: Uint8Array, options: PutOptions): Promise<PutResult> {
    const info = { key, bytes: body.length, sha256: sha256Of(body) };
    expectDigest(info, options.sha256);
    options.signal?.throwIfAborted();
    const known = await findSame(layout, info);
    if (known !== null) return known;
    return stage(layout, async (file, path) => {
      await writeRange(file, body, 0);
      this.#onWrite?.({ key, part: 1, bytes: body.length });
      await file.sync();
      options.signal?.throwIfAborted();
      return publishStaged(layout, info, path);
    });
  }

  async #putParts(layout: FileLayout, key: string, path: string, options: PutOptions): Promise<PutResult> {
    const plan = await planParts(path, this.#partBytes, options.signal);
    const info = { key, bytes: plan.bytes, sha256: plan.sha256 };
    expectDigest(info, options.sha256);
    const upload = { layout, key, path, plan, signal: options.signal, onWrite: this.#onWrite };
    for (let tries = 0; tries < UPLOAD_TRIES; tries++) {
      const known = await findSame(layout, info);
      if (known !== null) {
        // An upload that was killed after publishing left its parts.
        await removeUpload(upload);
        return known;
      }
      const contentName = newContentName(info);
      await makeFolder(dirname(contentPathOf(layout, contentName)));
      if (!(await copyInParts(upload, contentName))) continue;
      try {
        return await publishContent(layout, info, contentName);
      } finally {
        await removeUpload(upload);
      }
    }
    throw new TrainyardError('StoreUnavailable', `object ${key}: its upload folder was removed ${UPLOAD_TRIES} times`);
  }

  async #withContent<T>(key: string, work: (object: LinkedObject, file: FileHandle) => Promise<T>): Promise<T> {
    return this.#run(key, async (layout) => {
      const object = await readObjectLink(layout, key);
      const file = object === null ? null : await openIfPresent(object.contentPath);
      if (object === null || file === null) throw new TrainyardError('ObjectNotFound', `object ${key} does not exist`);
      try {
        return await work(object, file);
      } finally {
        await file.close();
      }
    });
  }

  async #run<T>(what: string, work: (layout: FileLayout) => Promise<T>): Promise<T> {
    try {
      return await work(await this.#open());
    } catch (error) {
      if (error instanceof BodyFailure) throw error.cause;
      throw asOperatingFailure(error, 'StoreUnavailable', `object store: ${what}`);
    }
  }

  async #open(): Promise<FileLayout> {
    this.#layout ??= openLayout(this.#root);
    try {
      return await this.#layout;
    } catch (error) {
      this.#layout = null;
      throw error;
    }
  }
}

/** Gives the work a new file that nobody can see; removed afterwards unless it was published. */
async function stage<T>(layout: FileLayout, work: (file: FileHandle, path: string) => Promise<T>): Promise<T> {
  const path = join(layout.staging, `${randomBytes(8).toString('hex')}.body`);
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL);
  try {
    return await work(file, path);
  } finally {
    await file.close();
    await unlinkIfPresent(path);
  }
}

async function openIfPresent(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
}
