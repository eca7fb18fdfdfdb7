import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MAX_IN_MEMORY_BYTES } from './limits.ts';
import { collect, type ObjectStoreHarness, sha256, withCode } from './object-store-harness.ts';
import { delivery, listing, resuming } from './object-store-reading.contract.ts';
import type { ObjectStore } from './port.ts';

/** Names of a refused key, by the rule it breaks. */
const BAD_KEYS = [
  '',
  '/',
  '/a',
  'a/',
  'a//b',
  '.',
  '..',
  'a/../b',
  'a/./b',
  '../a',
  'a b',
  'a\\b',
  'a\0b',
  'ä',
  'a:b',
  'a%2e',
];

/** The rules that every object store keeps (numbers as in `port.ts`). Keys of different tests never meet. */
export function objectStoreContract(name: string, factory: () => Promise<ObjectStoreHarness>): void {
  describe(`object store contract: ${name}`, () => {
    let harness: ObjectStoreHarness;
    let store: ObjectStore;
    let folder: string;

    beforeAll(async () => {
      harness = await factory();
      store = harness.open();
      folder = await mkdtemp(join(tmpdir(), 'trainyard-store-contract-'));
    });
    afterAll(async () => {
      await harness.close();
      await rm(folder, { recursive: true, force: true });
    });

    const local = (file: string): string => join(folder, file);

    basics(() => store);
    creation(
      () => harness,
      () => store,
      local,
    );
    refusals(
      () => harness,
      () => store,
      local,
    );
    delivery(
      () => harness,
      () => store,
      local,
    );
    resuming(() => harness, local);
    listing(() => store);

    test('check answers for a store that serves', async () => {
      await expect(store.check()).resolves.toBeUndefined();
    });
  });
}

function basics(store: () => ObjectStore): void {
  test('what was put is found, described and given back', async () => {
    const body = Buffer.from('hello');
    const put = await store().put('basics/a', body);
    expect(put).toEqual({ key: 'basics/a', bytes: 5, sha256: sha256(body), created: true });
    expect(await store().head('basics/a')).toEqual({ key: 'basics/a', bytes: 5, sha256: sha256(body) });
    expect(await store().get('basics/a')).toEqual(body);
  });

  test('an object may be empty', async () => {
    expect(await store().put('basics/empty', new Uint8Array())).toMatchObject({ bytes: 0, created: true });
    expect((await store().get('basics/empty')).length).toBe(0);
  });

  test('every character that a key may have works', async () => {
    const key = 'basics/AZaz09._=-/..a/a..b/...';
    await store().put(key, Buffer.from('x'));
    expect((await store().get(key)).toString()).toBe('x');
  });

  test('a key of 1,024 bytes works and one of 1,025 does not', async () => {
    const key = `basics/${'k'.repeat(200)}/`.padEnd(1_024, 'a/').replace(/\/$/, 'b');
    expect(key.length).toBe(1_024);
    await store().put(key, Buffer.from('x'));
    expect(await store().head(key)).toMatchObject({ bytes: 1 });
    await expect(store().put(`${key}c`, Buffer.from('x'))).rejects.toEqual(withCode('ValidationFailed'));
  });

  test('an absent object: head is null, get and getToFile are ObjectNotFound, delete is fine', async () => {
    expect(await store().head('basics/absent')).toBeNull();
    await expect(store().get('basics/absent')).rejects.toEqual(withCode('ObjectNotFound'));
    await expect(store().getToFile('basics/absent', join(tmpdir(), 'never'))).rejects.toEqual(
      withCode('ObjectNotFound'),
    );
    await expect(store().delete('basics/absent')).resolves.toBeUndefined();
  });

  test.each(BAD_KEYS)('the key %j is refused by every operation', async (key) => {
    const refused = withCode('ValidationFailed');
    await expect(store().put(key, Buffer.from('x'))).rejects.toEqual(refused);
    await expect(store().putStream(key, Readable.from(['x']), { maxBytes: 9 })).rejects.toEqual(refused);
    await expect(store().putFile(key, import.meta.filename)).rejects.toEqual(refused);
    await expect(store().get(key)).rejects.toEqual(refused);
    await expect(store().getToFile(key, join(tmpdir(), 'never'))).rejects.toEqual(refused);
    await expect(store().head(key)).rejects.toEqual(refused);
    await expect(store().delete(key)).rejects.toEqual(refused);
  });

  test('a deleted object is gone and its key is free for other content', async () => {
    await store().put('basics/deleted/x/y', Buffer.from('one'));
    await store().delete('basics/deleted/x/y');
    expect(await store().head('basics/deleted/x/y')).toBeNull();
    expect(await collect(store().list('basics/deleted/'))).toEqual([]);
    expect(await store().put('basics/deleted/x', Buffer.from('two'))).toMatchObject({ created: true });
  });
}

function creation(harness: () => ObjectStoreHarness, store: () => ObjectStore, local: (file: string) => string): void {
  test('OS-2: the same content again is a skip, by every way of putting', async () => {
    const body = randomBytes(1_000);
    await writeFile(local('same'), body);
    const writes: number[] = [];
    const other = harness().open((bytes) => writes.push(bytes));
    await store().put('create/same', body);
    expect(await other.put('create/same', body)).toMatchObject({ created: false, sha256: sha256(body) });
    expect(await other.putFile('create/same', local('same'))).toMatchObject({ created: false, bytes: 1_000 });
    expect(writes).toEqual([]);
    const streamed = await other.putStream('create/same', Readable.from([body]), { maxBytes: 1_000 });
    expect(streamed).toMatchObject({ created: false, sha256: sha256(body) });
  });

  test('OS-2: other content under a taken key is ObjectExists and changes nothing', async () => {
    const exists = withCode('ObjectExists');
    await writeFile(local('other'), 'other');
    await store().put('create/taken', Buffer.from('first'));
    await expect(store().put('create/taken', Buffer.from('other'))).rejects.toEqual(exists);
    await expect(store().putFile('create/taken', local('other'))).rejects.toEqual(exists);
    await expect(store().putStream('create/taken', Readable.from(['other']), { maxBytes: 9 })).rejects.toEqual(exists);
    expect((await store().get('create/taken')).toString()).toBe('first');
  });

  test('OS-2: of 16 concurrent creators with different content exactly one wins', async () => {
    const stores = Array.from({ length: 16 }, () => harness().open());
    const results = await Promise.allSettled(
      stores.map((each, n) => each.put('create/race', Buffer.from(`creator ${n}`))),
    );
    const winners = results.flatMap((result, n) => (result.status === 'fulfilled' ? [n] : []));
    expect(winners).toHaveLength(1);
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(errors).toEqual(errors.map(() => withCode('ObjectExists')));
    expect((await store().get('create/race')).toString()).toBe(`creator ${winners[0]}`);
  });

  test('OS-2: of 16 concurrent creators with the same content exactly one creates', async () => {
    const body = Buffer.from('the same');
    const results = await Promise.all(Array.from({ length: 16 }, () => harness().open().put('create/race-same', body)));
    expect(results.filter(({ created }) => created)).toHaveLength(1);
    expect(await store().get('create/race-same')).toEqual(body);
  });

  test('OS-2: concurrent creators of one large file leave one whole object', async () => {
    const body = randomBytes(harness().partBytes * 3);
    await writeFile(local('race-large'), body);
    const puts = Array.from({ length: 4 }, () => harness().open().putFile('create/race-large', local('race-large')));
    expect((await Promise.all(puts)).filter(({ created }) => created)).toHaveLength(1);
    const target = local('race-large-back');
    await store().getToFile('create/race-large', target);
    expect(sha256(await readFile(target))).toBe(sha256(body));
  });
}

function refusals(harness: () => ObjectStoreHarness, store: () => ObjectStore, local: (file: string) => string): void {
  test('x and x/y never coexist, whichever comes first', async () => {
    await store().put('create/file', Buffer.from('x'));
    await expect(store().put('create/file/below', Buffer.from('y'))).rejects.toEqual(withCode('ObjectExists'));
    await store().put('create/folder/below/it', Buffer.from('x'));
    await expect(store().put('create/folder', Buffer.from('y'))).rejects.toEqual(withCode('ObjectExists'));
    expect(await store().head('create/file/below')).toBeNull();
    expect(await store().head('create/folder')).toBeNull();
  });

  test('content that is not of the given digest is ChecksumMismatch and nothing of it is kept', async () => {
    const refused = withCode('ChecksumMismatch');
    const wrong = { sha256: sha256(Buffer.from('what was meant')) };
    const large = randomBytes(harness().partBytes * 2);
    await writeFile(local('wrong-large'), large);
    await expect(store().put('create/wrong', Buffer.from('x'), wrong)).rejects.toEqual(refused);
    await expect(store().putStream('create/wrong', Readable.from(['x']), { ...wrong, maxBytes: 9 })).rejects.toEqual(
      refused,
    );
    await expect(store().putFile('create/wrong', local('wrong-large'), wrong)).rejects.toEqual(refused);
    expect(await store().head('create/wrong')).toBeNull();
    expect(await store().put('create/wrong', Buffer.from('y'))).toMatchObject({ created: true });
  });

  test('a stream longer than maxBytes is BodyTooLarge and leaves nothing; one of exactly maxBytes is stored', async () => {
    const pieces = [Buffer.alloc(6), Buffer.alloc(5)];
    const tooLarge = store().putStream('create/long', Readable.from(pieces), { maxBytes: 10 });
    await expect(tooLarge).rejects.toEqual(withCode('BodyTooLarge'));
    expect(await store().head('create/long')).toBeNull();
    const exact = await store().putStream('create/long', Readable.from(pieces), { maxBytes: 11 });
    expect(exact).toMatchObject({ bytes: 11, created: true, sha256: sha256(Buffer.alloc(11)) });
  });

  test('put refuses a body beyond the in-memory limit with BodyTooLarge', async () => {
    const body = Buffer.alloc(MAX_IN_MEMORY_BYTES + 1);
    await expect(store().put('create/huge', body)).rejects.toEqual(withCode('BodyTooLarge'));
  });

  test('OS-1: a stream that fails or is aborted leaves nothing, and its own error is what the caller gets', async () => {
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from('half of it');
        throw new Error('connection reset');
      })(),
    );
    await expect(store().putStream('create/broken', broken, { maxBytes: 99 })).rejects.toThrow('connection reset');
    const aborter = new AbortController();
    const endless = Readable.from(
      (async function* () {
        for (let n = 0; ; n++) {
          if (n === 3) aborter.abort();
          yield Buffer.from('more');
        }
      })(),
    );
    const aborted = store().putStream('create/broken', endless, { maxBytes: 1e9, signal: aborter.signal });
    await expect(aborted).rejects.toThrow(/abort/i);
    expect(await store().head('create/broken')).toBeNull();
  });

  test('a local file that is absent is WorkspaceUnavailable, not a failure of the store', async () => {
    await expect(store().putFile('create/no-file', local('absent'))).rejects.toEqual(withCode('WorkspaceUnavailable'));
  });
}
