import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { type Fault, FaultProxy, type SeenRequest } from '../../test/support/fault-proxy.ts';
import { s3Suite } from '../../test/support/s3-suite.ts';
import { collect, sha256 } from './object-store-harness.ts';
import type { ObjectStore } from './port.ts';
import { S3ObjectStore } from './s3-store.ts';

const PART_BYTES = 5 * 1_024 * 1_024;
const OPERATIONS = 250;
/** Share of the requests that something happens to. */
const FAULTY = 0.2;

await s3Suite('s3 behind a network that fails', (server) => {
  let proxy: FaultProxy;
  let folder: string;
  let store: S3ObjectStore;

  beforeAll(async () => {
    proxy = await FaultProxy.start(server.endpoint);
    folder = await mkdtemp(join(tmpdir(), 'trainyard-s3-faults-'));
  });
  afterAll(async () => {
    await proxy.stop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    const bucket = `faults-${randomBytes(6).toString('hex')}`;
    await server.makeBucket(bucket);
    proxy.script = () => null;
    proxy.seen.length = 0;
    store = new S3ObjectStore({
      location: { bucket, prefix: 'p/', endpoint: proxy.url, region: server.region, pathStyle: true, encryption: null },
      partBytes: PART_BYTES,
      partsPerCopy: 2,
      client: { credentials: server.credentials, requestHandler: { connectionTimeout: 1_000, socketTimeout: 800 } },
    });
  });

  test('every operation succeeds with the right content or fails with an error of the catalogue', async () => {
    const seed = Number(process.env['TEST_SEED'] ?? randomInt(2 ** 32));
    console.log(`TEST_SEED=${seed} vitest run --project peers lib/object-store/s3-faults.peer.test.ts`);
    const random = mulberry32(seed);
    const chaos = new Chaos(random);
    proxy.script = (request) => chaos.next(request);
    const schedule = new Schedule(store, folder, random);
    await schedule.prepare();
    for (let n = 0; n < OPERATIONS; n++) await schedule.step();
    proxy.script = () => null;
    await schedule.compareAll();
    console.log(`${proxy.seen.length} requests, faults: ${JSON.stringify(Object.fromEntries(chaos.counts))}`);
    console.log(`operations: ${JSON.stringify(Object.fromEntries(schedule.outcomes))}`);
    expect(chaos.counts.size).toBe(10);
    expect((await readdir(folder)).filter((name) => name.includes('partial'))).toEqual([]);
    // What was interrupted is found by the garbage collection, and nothing else is.
    await store.collectGarbage({ olderThanMs: 0, now: Date.now() + 60_000 });
    expect((await store.collectGarbage({ olderThanMs: 0, now: Date.now() + 60_000 })).bytes).toBe(0);
    await schedule.compareAll();
  });

  test('OS-2: racing creators on a failing network: whoever succeeds holds what is stored', async () => {
    const seed = Number(process.env['TEST_SEED'] ?? randomInt(2 ** 32));
    console.log(`TEST_SEED=${seed} vitest run --project peers lib/object-store/s3-faults.peer.test.ts`);
    const chaos = new Chaos(mulberry32(seed));
    for (let round = 0; round < 5; round++) {
      proxy.script = (request) => chaos.next(request);
      const bodies = Array.from({ length: 8 }, (_, n) => Buffer.from(`creator ${n} of round ${round}`));
      const results = await Promise.allSettled(bodies.map((body) => store.put(`race/${round}`, body)));
      proxy.script = () => null;
      const winners = bodies.filter((_, n) => results[n]?.status === 'fulfilled');
      expect(winners.length).toBeLessThanOrEqual(1);
      for (const result of results) if (result.status === 'rejected') expectCatalogued(result.reason);
      expect(await Promise.all(winners.map(() => store.get(`race/${round}`)))).toEqual(winners);
    }
  });
});

const ANYWHERE = ['internal-error', 'slow-down', 'hang', 'lose-answer', 'cut-request', 'cut-response'] as const;

/** Random faults, each kind as often as the others where it can happen. */
class Chaos {
  readonly counts = new Map<Fault['kind'], number>();
  readonly #random: RandomStream;

  constructor(random: RandomStream) {
    this.#random = random;
  }

  next({ method, query }: Omit<SeenRequest, 'fault'>): Fault | null {
    if (this.#random.next() >= FAULTY) return null;
    const kinds: Fault['kind'][] = ['latency', ...ANYWHERE];
    if (method === 'GET') kinds.push('truncate-response');
    // Only the bytes of objects have digests: nothing but TLS protects a listing against a flipped letter.
    if (method === 'GET' && query.size === 1) kinds.push('flip-response');
    if (method === 'PUT') kinds.push('flip-request');
    const countOf = (kind: Fault['kind']): number => this.counts.get(kind) ?? 0;
    const kind = kinds.reduce((least, other) => (countOf(other) < countOf(least) ? other : least));
    this.counts.set(kind, countOf(kind) + 1);
    const at = this.#random.next();
    // Shorter than the client's patience, so that no request is still under way when the client has given up.
    return kind === 'latency' ? { kind, ms: at * 200 } : { kind, at };
  }
}

function expectCatalogued(error: unknown): asserts error is TrainyardError {
  assert.ok(error instanceof TrainyardError, `not an error of the catalogue: ${String(error)}`);
}

/** Random operations on a few keys, and for each key the contents it may hold: an operation that failed may have been done. */
class Schedule {
  readonly outcomes = new Map<string, number>();
  readonly #store: ObjectStore;
  readonly #folder: string;
  readonly #random: RandomStream;
  readonly #contents: Buffer[];
  readonly #keys = ['a/1', 'a/2', 'a/b/3', 'c', 'd/4'];
  readonly #possible = new Map<string, Set<string | null>>();

  constructor(store: ObjectStore, folder: string, random: RandomStream) {
    this.#store = store;
    this.#folder = folder;
    this.#random = random;
    this.#contents = [0, 10, 70_000, 300_000, PART_BYTES + 1_000, PART_BYTES * 2 + 77].map((bytes) =>
      Buffer.from(Array.from({ length: Math.min(bytes, 997) }, () => random.next() * 256)).subarray(0, bytes),
    );
    for (const [at, bytes] of [0, 10, 70_000, 300_000, PART_BYTES + 1_000, PART_BYTES * 2 + 77].entries())
      this.#contents[at] = Buffer.alloc(bytes, this.#contents[at]);
    for (const key of this.#keys) this.#possible.set(key, new Set([null]));
  }

  async prepare(): Promise<void> {
    for (const content of this.#contents) await writeFile(this.#fileOf(content), content);
  }

  async step(): Promise<void> {
    const key = this.#pick(this.#keys);
    // The large ones are rarer.
    const content = this.#random.next() < 0.75 ? this.#pick(this.#contents.slice(0, 4)) : this.#pick(this.#contents);
    const operation = this.#pick([
      'put',
      'putFile',
      'putStream',
      'get',
      'getToFile',
      'head',
      'list',
      'delete',
    ] as const);
    try {
      await this.#run(operation, key, content);
      this.#count(`${operation} ok`);
    } catch (error) {
      expectCatalogued(error);
      this.#count(`${operation} ${error.code}`);
      this.#afterFailure(operation, key, sha256(content), error);
    }
  }

  /** With the faults off: every key holds one of the contents it may hold, and the listing agrees. */
  async compareAll(): Promise<void> {
    const listed = new Map((await collect(this.#store.list(''))).map((info) => [info.key, info.sha256]));
    for (const key of this.#keys) {
      const held = listed.get(key) ?? null;
      this.#expectPossible(key, held);
      if (held !== null) assert.equal(sha256(await this.#store.get(key)), held);
      listed.delete(key);
    }
    assert.deepEqual([...listed.keys()], []);
  }

  async #run(operation: string, key: string, content: Buffer): Promise<void> {
    const digest = sha256(content);
    switch (operation) {
      case 'put':
      case 'putFile':
      case 'putStream': {
        const { created, ...info } =
          operation === 'put'
            ? await this.#store.put(key, content)
            : operation === 'putFile'
              ? await this.#store.putFile(key, this.#fileOf(content))
              : await this.#store.putStream(key, Readable.from([content]), { maxBytes: content.length });
        assert.deepEqual(info, { key, bytes: content.length, sha256: digest });
        const possible = this.#possible.get(key) ?? new Set();
        if (!possible.has(digest)) assert.equal(created, true, `${key} was created`);
        if (!possible.has(null)) assert.equal(created, false, `${key} was there`);
        if (!possible.has(null)) this.#expectPossible(key, digest);
        this.#possible.set(key, new Set([digest]));
        return;
      }
      case 'get':
        return this.#expectPossible(key, sha256(await this.#store.get(key)));
      case 'getToFile': {
        const target = join(this.#folder, 'target');
        const info = await this.#store.getToFile(key, target);
        assert.equal(sha256(await readFile(target)), info.sha256);
        return this.#expectPossible(key, info.sha256);
      }
      case 'head':
        return this.#expectPossible(key, (await this.#store.head(key))?.sha256 ?? null);
      case 'list': {
        const listed = new Map((await collect(this.#store.list('a'))).map((info) => [info.key, info.sha256]));
        for (const each of this.#keys) if (each.startsWith('a')) this.#expectPossible(each, listed.get(each) ?? null);
        return;
      }
      default:
        await this.#store.delete(key);
        this.#possible.set(key, new Set([null]));
    }
  }

  #afterFailure(operation: string, key: string, digest: string, error: TrainyardError): void {
    const possible = this.#possible.get(key) ?? new Set();
    if (error.code === 'ObjectExists') {
      possible.delete(null);
      possible.delete(digest);
      assert.ok(possible.size > 0, `${operation}: ${key} holds no other content`);
    } else if (error.code === 'ObjectNotFound') this.#expectPossible(key, null);
    else {
      assert.ok(['StoreUnavailable', 'ChecksumMismatch'].includes(error.code), error.message);
      if (operation.startsWith('put') && possible.has(null)) possible.add(digest);
      if (operation === 'delete') possible.add(null);
    }
  }

  #expectPossible(key: string, digest: string | null): void {
    assert.ok(this.#possible.get(key)?.has(digest), `${key} cannot hold ${digest}`);
    this.#possible.set(key, new Set([digest]));
  }

  #fileOf(content: Buffer): string {
    return join(this.#folder, `content-${content.length}`);
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random.next() * from.length)] as T;
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}
