import { createHash } from 'node:crypto';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ObjectInfo, ObjectStore, PutOptions, PutResult } from '#lib/object-store/port.ts';
import type { Life } from './life.ts';
import type { Network, Server } from './sim-network.ts';

interface StoredObject extends ObjectInfo {
  body: Buffer;
}

/** All objects, by key. */
export class ObjectTable {
  readonly objects = new Map<string, StoredObject>();
  /** Called when an object comes into being. */
  onCreate: (key: string, by: string) => void = () => undefined;
}

export const storeUnavailable = (): TrainyardError =>
  new TrainyardError('StoreUnavailable', 'the object store does not answer');

const sha256 = (body: Uint8Array): string => createHash('sha256').update(body).digest('hex');

/** The object store over the network: conditional create, verified reads. Files and streams are not simulated: they would be real I/O. */
export class SimObjectStore implements ObjectStore {
  readonly #network: Network;
  readonly #server: Server;
  readonly #life: Life;
  readonly #table: ObjectTable;

  constructor(world: { network: Network; server: Server; table: ObjectTable }, life: Life) {
    this.#network = world.network;
    this.#server = world.server;
    this.#table = world.table;
    this.#life = life;
  }

  put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutResult> {
    const digest = sha256(body);
    if (options.sha256 !== undefined && options.sha256 !== digest)
      return Promise.reject(new TrainyardError('ChecksumMismatch', `${key} is not what was announced`));
    return this.#call('put', () => {
      const known = this.#table.objects.get(key);
      if (known !== undefined && known.sha256 !== digest)
        throw new TrainyardError('ObjectExists', `${key} holds other content`);
      const info = { key, bytes: body.byteLength, sha256: digest };
      if (known !== undefined) return { ...info, created: false };
      this.#table.objects.set(key, { ...info, body: Buffer.from(body) });
      this.#table.onCreate(key, this.#life.name);
      return { ...info, created: true };
    });
  }

  get(key: string): Promise<Buffer> {
    return this.#call('get', () => {
      const object = this.#table.objects.get(key);
      if (object === undefined) throw new TrainyardError('ObjectNotFound', `object ${key} does not exist`);
      if (sha256(object.body) !== object.sha256)
        throw new TrainyardError('ChecksumMismatch', `object ${key} is damaged`);
      return Buffer.from(object.body);
    });
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#call('head', () => {
      const object = this.#table.objects.get(key);
      return object === undefined ? null : { key, bytes: object.bytes, sha256: object.sha256 };
    });
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const found = await this.#call('list', () =>
      [...this.#table.objects.values()].filter(({ key }) => key.startsWith(prefix)),
    );
    found.sort((a, b) => (a.key < b.key ? -1 : 1));
    for (const { key, bytes, sha256: digest } of found) yield { key, bytes, sha256: digest };
  }

  delete(key: string): Promise<void> {
    return this.#call('delete', () => void this.#table.objects.delete(key));
  }

  check(): Promise<void> {
    return this.#call('check', () => undefined);
  }

  putStream(): Promise<PutResult> {
    throw new Error('streams are not simulated');
  }

  putFile(): Promise<PutResult> {
    throw new Error('files are not simulated');
  }

  getToFile(): Promise<ObjectInfo> {
    throw new Error('files are not simulated');
  }

  collectGarbage(): Promise<{ readonly bytes: number }> {
    throw new Error('garbage is not simulated');
  }

  #call<T>(what: string, effect: () => T): Promise<T> {
    return this.#network.call(this.#life, this.#server, what, effect);
  }
}
