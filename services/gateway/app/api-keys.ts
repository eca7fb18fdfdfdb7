import { createHash, randomBytes } from 'node:crypto';
import type { Principal, Role } from '../domain/access.ts';
import { sortableId } from './ids.ts';
import type { KeyRecord, KeyStore } from './ports.ts';

const KEY = /^ty_[A-Za-z0-9_-]{43}$/;
/** A revoked key works at most this long; a key in use costs the database one look-up per interval. */
const CACHE_MS = 5_000;
/** Bounds the memory; at the limit the cache starts anew. */
const CACHE_KEYS = 10_000;

/** A new key: 256 random bits. */
const newApiKey = (): string => `ty_${randomBytes(32).toString('base64url')}`;

/** What is stored of it. */
export const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();

/** Finds out whose key it is; keys in use are remembered for a few seconds. */
export class Authenticator {
  readonly #store: KeyStore;
  readonly #now: () => number;
  readonly #cache = new Map<string, { principal: Principal; untilMs: number }>();

  constructor(store: KeyStore, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /** Null for anything that is not a key we gave out. */
  async identify(key: string): Promise<Principal | null> {
    if (!KEY.test(key)) return null;
    const hash = hashOf(key);
    const id = hash.toString('base64');
    const cached = this.#cache.get(id);
    if (cached !== undefined && cached.untilMs > this.#now()) return cached.principal;
    this.#cache.delete(id);
    const principal = await this.#store.findByHash(hash);
    if (principal === null) return null;
    if (this.#cache.size >= CACHE_KEYS) this.#cache.clear();
    this.#cache.set(id, { principal, untilMs: this.#now() + CACHE_MS });
    return principal;
  }
}

/** Makes a key for a project. The key itself is in the answer and nowhere else. */
export async function issueKey(
  store: KeyStore,
  request: { readonly project: string; readonly role: Role; readonly name: string; readonly nowMs: number },
): Promise<{ record: KeyRecord; key: string }> {
  const key = newApiKey();
  const { project, role, name, nowMs } = request;
  const record = await store.insert({ id: `key-${sortableId(nowMs)}`, project, role, name, hash: hashOf(key) });
  return { record, key };
}

/** Where the platform admin's key lies for the person who runs the platform. */
export interface AdminKeyFile {
  /** The key in it, or null. */
  read(): Promise<string | null>;
  write(key: string): Promise<void>;
}

/**
 * Makes sure that a platform admin exists. On a new database the key in the file is adopted (a mounted secret, or the file of a
 * home whose database was made anew), else one is made and written to the file. Written before it is stored: a crash in between makes
 * another one at the next start, never a key that nobody knows.
 */
export async function ensureAdminKey(store: KeyStore, file: AdminKeyFile, nowMs: number): Promise<boolean> {
  return store.ensureAdmin(async () => {
    const given = await file.read();
    const key = given !== null && KEY.test(given) ? given : newApiKey();
    if (key !== given) await file.write(key);
    return { id: `key-${sortableId(nowMs)}`, hash: hashOf(key) };
  });
}
