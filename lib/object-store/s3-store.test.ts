import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { S3Bucket } from './s3-bucket.ts';
import { newCreator } from './s3-object.ts';
import { S3ObjectStore } from './s3-store.ts';
import { parseS3Url, type S3Location } from './s3-url.ts';

interface SentRequest {
  readonly method: string;
  readonly hostname: string;
  readonly path: string;
  readonly headers: Record<string, string>;
}

const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'the-secret' };
const BODY = Buffer.from('content');
const SHA256 = createHash('sha256').update(BODY).digest();
const OBJECT = { key: 'a/b', bytes: BODY.length, sha256: SHA256.toString('hex'), creator: newCreator() };

function locationOf(url: string): S3Location {
  const parsed = parseS3Url(url);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.location;
}

/** The requests that `work` makes: signed and complete, but none leaves the process. */
async function requestsOf(url: string, work: (bucket: S3Bucket) => Promise<unknown>): Promise<SentRequest[]> {
  const sent: SentRequest[] = [];
  const handle = (request: unknown): Promise<never> => {
    sent.push(request as SentRequest);
    return Promise.reject(new Error('nothing is sent'));
  };
  const bucket = new S3Bucket(locationOf(url), { credentials, requestHandler: { handle } });
  await expect(work(bucket)).rejects.toThrow('nothing is sent');
  return sent;
}

describe('requests of the S3 store', () => {
  test('an object is created with its SHA-256 as checksum, as signed payload and as metadata, and only if the key is free', async () => {
    const [request] = await requestsOf('s3://bucket/pre?region=eu-west-1', (bucket) => bucket.create(OBJECT, BODY));
    expect(request?.headers).toMatchObject({
      'if-none-match': '*',
      'x-amz-checksum-sha256': SHA256.toString('base64'),
      'x-amz-content-sha256': OBJECT.sha256,
      'x-amz-meta-sha256': OBJECT.sha256,
      'x-amz-meta-bytes': '7',
      'x-amz-meta-creator': OBJECT.creator,
    });
    expect(request?.headers['authorization']).toContain('x-amz-content-sha256');
    expect(request?.headers).not.toHaveProperty('expect');
    expect(request?.headers).not.toHaveProperty('x-amz-server-side-encryption');
  });

  test.each([
    ['s3://bucket/pre?region=eu-west-1', 'bucket.s3.eu-west-1.amazonaws.com', '/pre/a/b'],
    ['s3://bucket/pre?region=eu-west-1&pathStyle=true', 's3.eu-west-1.amazonaws.com', '/bucket/pre/a/b'],
    ['s3://bucket?endpoint=https://store.example:9000', 'bucket.store.example', '/a/b'],
    ['s3://bucket?endpoint=https://store.example:9000&pathStyle=true', 'store.example', '/bucket/a/b'],
  ])('%s is addressed at %s', async (url, hostname, path) => {
    const [request] = await requestsOf(url, (bucket) => bucket.create(OBJECT, BODY));
    expect(request).toMatchObject({ hostname, path });
  });

  test.each([
    ['sse=AES256', { 'x-amz-server-side-encryption': 'AES256' }],
    ['sse=aws:kms', { 'x-amz-server-side-encryption': 'aws:kms' }],
    [
      'sse=aws:kms&kmsKeyId=alias/models',
      { 'x-amz-server-side-encryption': 'aws:kms', 'x-amz-server-side-encryption-aws-kms-key-id': 'alias/models' },
    ],
  ])('%s is asked for with every object and every upload in parts', async (parameters, headers) => {
    const url = `s3://bucket?region=eu-west-1&${parameters}`;
    const requests = [
      ...(await requestsOf(url, (bucket) => bucket.create(OBJECT, BODY))),
      ...(await requestsOf(url, (bucket) => bucket.replace(OBJECT, BODY, '"etag"'))),
      ...(await requestsOf(url, (bucket) => bucket.uploads.begin('a/b', OBJECT, true))),
      ...(await requestsOf(url, (bucket) => bucket.uploads.begin('a/b', null, false))),
    ];
    expect(requests).toHaveLength(4);
    for (const request of requests) expect(request.headers).toMatchObject(headers);
  });

  test('a key that is too long together with the prefix is refused', async () => {
    const store = new S3ObjectStore({ location: locationOf(`s3://bucket/${'p'.repeat(200)}`) });
    await expect(store.head(`${'k'.repeat(250)}/`.repeat(4).slice(0, 1_003) + 'k')).rejects.toEqual(
      expect.objectContaining({ code: 'ValidationFailed' }),
    );
  });
});

describe('s3:// URLs', () => {
  test('bucket and prefix are enough', () => {
    expect(locationOf('s3://my.bucket-1/a/b/')).toEqual({
      bucket: 'my.bucket-1',
      prefix: 'a/b/',
      pathStyle: false,
      encryption: null,
    });
    expect(locationOf('s3://bucket')).toMatchObject({ bucket: 'bucket', prefix: '' });
  });

  test('every parameter is read, and an endpoint has a region', () => {
    const all = 's3://b-1/p?endpoint=http://127.0.0.1:9000&region=eu-west-1&pathStyle=true&sse=aws:kms&kmsKeyId=k';
    expect(locationOf(all)).toEqual({
      bucket: 'b-1',
      prefix: 'p/',
      endpoint: 'http://127.0.0.1:9000',
      region: 'eu-west-1',
      pathStyle: true,
      encryption: { mode: 'aws:kms', kmsKeyId: 'k' },
    });
    expect(locationOf('s3://bucket?endpoint=http://127.0.0.1:9000')).toMatchObject({ region: 'us-east-1' });
  });

  test.each([
    's3:bucket',
    's3://',
    's3://B',
    's3://Bucket_1/x',
    's3://bucket:9000/x',
    's3://bucket/a b',
    's3://bucket/a//b',
    's3://bucket/x#y',
    's3://bucket?endpoint=store.example',
    's3://bucket?endpoint=ftp://store.example',
    's3://bucket?endpoint=http://user:hunter2@store.example',
    's3://bucket?region=Hunter 2',
    's3://bucket?region=a&region=b',
    's3://bucket?region=',
    's3://bucket?pathStyle=yes',
    's3://bucket?sse=rot13',
    's3://bucket?kmsKeyId=k',
    's3://bucket?sse=AES256&kmsKeyId=k',
    's3://bucket?secretAccessKey=hunter2',
    's3://AKID:hunter2@bucket/x',
  ])('%s is refused, without its values', (url) => {
    const parsed = parseS3Url(url);
    expect(parsed).toEqual({ ok: false, reason: expect.any(String) as string });
    expect(JSON.stringify(parsed)).not.toMatch(/hunter/i);
  });
});
