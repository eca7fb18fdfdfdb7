import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ListMultipartUploadsCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { FaultProxy, type SeenRequest } from '../../test/support/fault-proxy.ts';
import { s3Suite } from '../../test/support/s3-suite.ts';
import { collect, sha256, withCode } from './object-store-harness.ts';
import { S3ObjectStore, type S3ObjectStoreOptions } from './s3-store.ts';

const PART_BYTES = 5 * 1_024 * 1_024;

await s3Suite('rules of S3 alone', (server) => {
  let proxy: FaultProxy;
  let folder: string;
  let raw: S3Client;
  let bucket: string;
  let store: S3ObjectStore;

  const open = (options: Partial<S3ObjectStoreOptions> = {}): S3ObjectStore =>
    new S3ObjectStore({
      location: { bucket, prefix: 'p/', endpoint: proxy.url, region: server.region, pathStyle: true, encryption: null },
      partBytes: PART_BYTES,
      client: { credentials: server.credentials },
      ...options,
    });
  const rawKeys = async (): Promise<string[]> => {
    const { Contents } = await raw.send(new ListObjectsV2Command({ Bucket: bucket }));
    return (Contents ?? []).map(({ Key = '' }) => Key);
  };
  const rawUploads = async (): Promise<number> =>
    ((await raw.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? []).length;
  const isPart = ({ method, query }: Pick<SeenRequest, 'method' | 'query'>): boolean =>
    method === 'PUT' && query.has('partNumber');
  const partsSeen = (): number[] =>
    proxy.seen
      .filter((each) => isPart(each) && each.fault === null)
      .map(({ query }) => Number(query.get('partNumber')));
  const file = async (name: string, bytes: number): Promise<{ path: string; body: Buffer }> => {
    const body = randomBytes(bytes);
    await writeFile(join(folder, name), body);
    return { path: join(folder, name), body };
  };

  beforeAll(async () => {
    proxy = await FaultProxy.start(server.endpoint);
    folder = await mkdtemp(join(tmpdir(), 'trainyard-s3-rules-'));
    const { endpoint, region, credentials } = server;
    raw = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  });
  afterAll(async () => {
    raw.destroy();
    await proxy.stop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    bucket = `rules-${randomBytes(6).toString('hex')}`;
    await server.makeBucket(bucket);
    proxy.script = () => null;
    proxy.seen.length = 0;
    store = open();
  });

  test('an upload that the network ended goes on with the parts that are missing, and leaves nothing but the object', async () => {
    const { path, body } = await file('resumed', PART_BYTES * 5 + 1);
    proxy.script = (request) => (isPart(request) && request.query.get('partNumber') === '4' ? busy : null);
    await expect(store.putFile('resumed', path)).rejects.toEqual(withCode('StoreUnavailable'));
    const sentBefore = partsSeen();
    expect(sentBefore.length).toBeGreaterThanOrEqual(3);
    expect(sentBefore).not.toContain(4);
    expect(await store.head('resumed')).toBeNull();
    proxy.script = () => null;
    proxy.seen.length = 0;
    expect(await open().putFile('resumed', path)).toMatchObject({ created: true, sha256: sha256(body) });
    expect([...sentBefore, ...partsSeen()].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await rawKeys()).toEqual(['p/resumed']);
    expect(await rawUploads()).toBe(0);
  });

  test('every part and every body carries its own SHA-256, and one that was damaged on the way is sent again', async () => {
    const { path, body } = await file('damaged', PART_BYTES * 2);
    let damaged = 0;
    proxy.script = (request) =>
      request.method === 'PUT' && damaged++ % 2 === 0 ? { kind: 'flip-request', at: 0.5 } : null;
    await store.putFile('damaged/file', path);
    await store.put('damaged/small', Buffer.from('small'));
    proxy.script = () => null;
    for (const request of proxy.seen.filter(isPart))
      expect(request.headers).toMatchObject({
        'x-amz-checksum-sha256': expect.stringMatching(/^.{43}=$/) as string,
        'x-amz-content-sha256': expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      });
    expect(damaged).toBeGreaterThan(4);
    await store.getToFile('damaged/file', join(folder, 'back'));
    expect((await readFile(join(folder, 'back'))).equals(body)).toBe(true);
    expect((await store.get('damaged/small')).toString()).toBe('small');
  });

  test('a body that is damaged every time is ChecksumMismatch, and nothing is stored', async () => {
    proxy.script = ({ method }) => (method === 'PUT' ? { kind: 'flip-request', at: 0 } : null);
    await expect(store.put('never', Buffer.from('right'))).rejects.toEqual(withCode('ChecksumMismatch'));
    expect(await rawKeys()).toEqual([]);
  });

  test('a creation whose answer was lost is still this call’s creation', async () => {
    let puts = 0;
    proxy.script = ({ method }) => (method === 'PUT' && puts++ === 0 ? lost : null);
    expect(await store.put('lost', Buffer.from('x'))).toMatchObject({ created: true });
    expect(puts).toBe(2);
    const { path } = await file('lost', PART_BYTES + 1);
    let completions = 0;
    proxy.script = ({ method, query }) =>
      method === 'POST' && query.has('uploadId') && completions++ === 0 ? lost : null;
    expect(await store.putFile('lost-file', path)).toMatchObject({ created: true });
    expect(completions).toBe(2);
  });

  test('a download goes on where the connection broke', async () => {
    const { path, body } = await file('cut', 3_000_000);
    await store.putFile('cut', path);
    let gets = 0;
    proxy.script = ({ method, query }) =>
      method === 'GET' && !query.has('list-type') && gets++ < 2 ? { kind: 'cut-response', at: 0.5 } : null;
    proxy.seen.length = 0;
    expect((await store.get('cut')).equals(body)).toBe(true);
    const ranges = proxy.seen.map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/), expect.stringMatching(/^bytes=\d+-$/)]);
  });

  test('a body that something between shortened or damaged once is read again, not taken for damage', async () => {
    const { path, body } = await file('once', 200_000);
    await store.putFile('once', path);
    for (const kind of ['truncate-response', 'flip-response'] as const) {
      let gets = 0;
      proxy.script = ({ method }) => (method === 'GET' && gets++ === 0 ? { kind, at: 0.3 } : null);
      expect((await store.get('once')).equals(body)).toBe(true);
      expect(gets).toBe(2);
    }
  });

  test('a listing that was cut short is not taken for the whole', async () => {
    for (const key of ['a', 'b', 'c']) await store.put(key, Buffer.from(key));
    proxy.script = ({ query }) => (query.has('list-type') ? { kind: 'truncate-response', at: 0.8 } : null);
    await expect(collect(store.list(''))).rejects.toEqual(withCode('StoreUnavailable'));
  });

  test('a stream of several parts is copied by the server from its staging place, and nothing stays there', async () => {
    const streaming = open({ partsPerCopy: 2 });
    const body = randomBytes(PART_BYTES * 5 + 99);
    const put = (key: string): Promise<unknown> =>
      streaming.putStream(key, Readable.from(piecesOf(body)), { maxBytes: body.length });
    expect(await put('stream')).toEqual({
      key: 'stream',
      bytes: body.length,
      sha256: sha256(body),
      created: true,
    });
    const copies = proxy.seen.filter(({ headers }) => headers['x-amz-copy-source'] !== undefined);
    expect(copies.map(({ headers }) => headers['x-amz-copy-source-range'])).toHaveLength(3);
    expect((await streaming.get('stream')).equals(body)).toBe(true);
    expect(await put('stream')).toMatchObject({ created: false });
    expect(await rawKeys()).toEqual(['p/stream']);
    expect(await rawUploads()).toBe(0);
  });

  test('a stream that is too long, breaks off or has another digest leaves neither object nor parts', async () => {
    const body = randomBytes(PART_BYTES * 3);
    const maxBytes = body.length;
    const tooLong = store.putStream('no', Readable.from(piecesOf(body)), { maxBytes: maxBytes - 1 });
    await expect(tooLong).rejects.toEqual(withCode('BodyTooLarge'));
    const broken = async function* (): AsyncGenerator<Buffer> {
      yield* piecesOf(body);
      throw new Error('connection reset');
    };
    await expect(store.putStream('no', Readable.from(broken()), { maxBytes })).rejects.toThrow('connection reset');
    const wrong = { maxBytes, sha256: sha256(Buffer.from('other')) };
    await expect(store.putStream('no', Readable.from(piecesOf(body)), wrong)).rejects.toEqual(
      withCode('ChecksumMismatch'),
    );
    expect(partsSeen().length).toBeGreaterThan(3);
    expect(await rawKeys()).toEqual([]);
    expect(await rawUploads()).toBe(0);
  });

  test('the garbage collection aborts uploads of a given age, and forgets them', async () => {
    const { path, body } = await file('garbage', PART_BYTES * 4);
    proxy.script = (request) => (isPart(request) && request.query.get('partNumber') === '3' ? busy : null);
    await expect(store.putFile('garbage', path)).rejects.toEqual(withCode('StoreUnavailable'));
    await store.put('kept', Buffer.from('kept'));
    proxy.script = () => null;
    const olderThanMs = 3_600_000;
    expect((await store.collectGarbage({ olderThanMs, now: Date.now() })).bytes).toBe(0);
    expect(await rawUploads()).toBe(1);
    const { bytes } = await store.collectGarbage({ olderThanMs, now: Date.now() + 2 * olderThanMs });
    expect(bytes).toBeGreaterThanOrEqual(PART_BYTES * 2);
    expect(await rawUploads()).toBe(0);
    expect(await rawKeys()).toEqual(['p/kept']);
    expect(await store.putFile('garbage', path)).toMatchObject({ created: true, sha256: sha256(body) });
  });

  test('an upload that was aborted behind our back is begun again', async () => {
    const { path, body } = await file('aborted', PART_BYTES * 3);
    proxy.script = (request) => (isPart(request) && request.query.get('partNumber') === '3' ? busy : null);
    await expect(store.putFile('aborted', path)).rejects.toEqual(withCode('StoreUnavailable'));
    const running = (await raw.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.[0];
    const aborted = { uploadId: running?.UploadId ?? '', key: 'aborted' };
    proxy.script = () => null;
    const { S3Uploads } = await import('./s3-uploads.ts');
    const { S3Connection } = await import('./s3-connection.ts');
    const location = { bucket, prefix: 'p/', pathStyle: true, encryption: null };
    const { endpoint, region, credentials } = server;
    await new S3Uploads(new S3Connection({ ...location, endpoint, region }, { credentials })).abort(aborted);
    expect(await store.putFile('aborted', path)).toMatchObject({ created: true, sha256: sha256(body) });
    expect(await rawKeys()).toEqual(['p/aborted']);
  });

  test('what another program put there is no object of the store, and is not overwritten', async () => {
    await raw.send(new PutObjectCommand({ Bucket: bucket, Key: 'p/foreign', Body: 'x' }));
    await raw.send(new PutObjectCommand({ Bucket: bucket, Key: 'p/foreign key', Body: 'x' }));
    await raw.send(new PutObjectCommand({ Bucket: bucket, Key: 'elsewhere', Body: 'x' }));
    expect(await store.head('foreign')).toBeNull();
    expect(await collect(store.list(''))).toEqual([]);
    await expect(store.get('foreign')).rejects.toEqual(withCode('ObjectNotFound'));
    await expect(store.getToFile('foreign', join(folder, 'foreign'))).rejects.toEqual(withCode('ObjectNotFound'));
    await expect(store.put('foreign', Buffer.from('x'))).rejects.toEqual(withCode('ObjectExists'));
    await expect(store.put('foreign/below', Buffer.from('x'))).rejects.toEqual(withCode('ObjectExists'));
  });

  test.each([
    ['the bucket does not exist', { bucket: 'no-such-bucket' }, {}],
    ['the secret key is wrong', {}, { secretAccessKey: 'not-the-secret' }],
    ['the server does not know the access key', {}, { accessKeyId: 'nobody' }],
    ['ECONNREFUSED', { endpoint: 'http://127.0.0.1:1' }, {}],
  ])('check says that %s', async (reason, place, key) => {
    const location = { bucket, prefix: '', endpoint: server.endpoint, region: server.region, pathStyle: true };
    const failing = new S3ObjectStore({
      location: { ...location, encryption: null, ...place },
      client: { credentials: { ...server.credentials, ...key } },
    });
    const error = await failing.check().catch((caught: unknown) => caught);
    expect(error).toEqual(withCode('StoreUnavailable'));
    expect(String(error)).toContain(reason);
    expect(JSON.stringify([error, String(error)])).not.toContain('secret"');
    expect(JSON.stringify([error, String(error)])).not.toContain(server.credentials.secretAccessKey);
  });

  test('a busy server is asked again, and one that stays busy is StoreUnavailable', async () => {
    let answers = 0;
    proxy.script = () => (answers++ < 2 ? { kind: 'slow-down' } : null);
    expect(await store.put('busy', Buffer.from('x'))).toMatchObject({ created: true });
    proxy.script = () => ({ kind: 'slow-down' });
    const error: unknown = await store.head('busy').catch((caught: unknown) => caught);
    expect(error).toEqual(withCode('StoreUnavailable'));
    expect(error).toMatchObject({ details: { status: 503 } });
  });

  test('an abort ends a call that hangs, with the reason of the caller', async () => {
    const aborter = new AbortController();
    proxy.script = ({ method }) => {
      if (method !== 'PUT') return null;
      aborter.abort(new Error('the job was cancelled'));
      return { kind: 'hang' };
    };
    const put = store.put('hangs', Buffer.from('x'), { signal: aborter.signal });
    await expect(put).rejects.toThrow('the job was cancelled');
  });
});

const lost = { kind: 'lose-answer' } as const;
const busy = { kind: 'internal-error' } as const;

function* piecesOf(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += 700_000) yield body.subarray(at, at + 700_000);
}
