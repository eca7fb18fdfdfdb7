import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { type Answer, type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

const MIB = 1024 * 1024;
let gateway: Harness;
let one: ProjectKeys;
let origin: string;
beforeAll(async () => {
  gateway = await startGateway({ datasetMaxBytes: 24 * MIB });
  one = await gateway.project('one');
  origin = await gateway.app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => gateway.close());

const upload = (
  name: string,
  raw: string | Buffer,
  headers: Record<string, string> = {},
  query = '',
): Promise<Answer> =>
  gateway.call(`/v1/datasets/${name}/versions${query}`, {
    key: one.submitter,
    raw,
    headers: { 'content-type': 'text/plain', ...headers },
  });

const keysOf = async (name: string): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of gateway.objects.list(`datasets/one/${name}/`)) keys.push(key);
  return keys;
};

/** A stream of that many MiB, never in memory as a whole. */
function* mebibytes(count: number): Generator<Buffer> {
  for (let i = 0; i < count; i++) yield Buffer.alloc(MIB, String(i % 10));
}
const post = (name: string, body: Readable, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${origin}/v1/datasets/${name}/versions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${one.submitter}`, 'content-type': 'text/plain; charset=utf-8', ...headers },
    body: Readable.toWeb(body) as ReadableStream,
    duplex: 'half',
  });

describe('an upload', () => {
  it('of 20 MB is streamed, verified and stored as version 1', async () => {
    const hash = createHash('sha256');
    for (const part of mebibytes(20)) hash.update(part);
    const digest = hash.digest();
    const response = await post('large', Readable.from(mebibytes(20)), {
      'content-digest': `sha-256=:${digest.toString('base64')}:`,
    });
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({
      version: 1,
      format: 'text',
      bytes: 20 * MIB,
      sha256: digest.toString('hex'),
    });
    const [key] = await keysOf('large');
    expect(await gateway.objects.head(key ?? '')).toMatchObject({ bytes: 20 * MIB, sha256: digest.toString('hex') });
  });

  it('over the limit is refused while it streams, and nothing of it stays', async () => {
    // The client may still be sending when the answer comes, and then sees the connection end instead.
    const outcome = await post('huge', Readable.from(mebibytes(30))).then(
      async (response) => problemOf({ status: response.status, body: await response.json() } as Answer),
      () => ({ status: 413, code: 'BodyTooLarge' }),
    );
    expect(outcome).toMatchObject({ status: 413, code: 'BodyTooLarge' });
    expect(await keysOf('huge')).toEqual([]);
    expect((await gateway.call('/v1/datasets/huge/versions', { key: one.viewer })).status).toBe(404);
  });

  it('that announces too many bytes is refused before it begins', async () => {
    const answer = await upload('huge', 'x', { 'content-length': String(25 * MIB) });
    expect(problemOf(answer)).toMatchObject({ status: 413, code: 'BodyTooLarge' });
  });

  it.each([
    ['x-content-sha256', 'a'.repeat(64)],
    ['digest', `sha-256=${Buffer.alloc(32).toString('base64')}`],
    ['content-digest', `sha-256=:${Buffer.alloc(32).toString('base64')}:`],
    ['digest', 'md5=abc'],
    ['x-content-sha256', 'short'],
  ])('with a wrong digest (%s: %s) is refused with that header, and nothing of it stays', async (header, value) => {
    const answer = await upload('wrong', 'the text', { [header]: value });
    expect(problemOf(answer)).toEqual({ status: 422, code: 'ValidationFailed', pointers: [`/headers/${header}`] });
    expect(await keysOf('wrong')).toEqual([]);
  });

  it('of the same bytes is the same version; other bytes or another format are the next one', async () => {
    const first = await upload('twice', 'same');
    const again = await upload('twice', 'same');
    const other = await upload('twice', 'other');
    const format = await upload('twice', 'same', { 'content-type': 'application/jsonl' }, '?format=jsonl_text');
    expect([first, again, other, format].map(({ status, body }) => [status, body['version']])).toEqual([
      [201, 1],
      [200, 1],
      [201, 2],
      [201, 3],
    ]);
    expect(await keysOf('twice')).toHaveLength(3);
  });

  it('raced by nine equal ones makes one version and keeps one object', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => upload('raced', 'all the same')));
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([
      ...Array.from({ length: 9 }, () => 200),
      201,
    ]);
    expect(await keysOf('raced')).toHaveLength(1);
  });

  it('that breaks off leaves nothing', async () => {
    const { hostname, port } = new URL(origin);
    const outgoing = request({
      hostname,
      port,
      method: 'POST',
      path: '/v1/datasets/broken/versions',
      headers: { authorization: `Bearer ${one.submitter}`, 'content-type': 'text/plain', 'content-length': 1_000_000 },
    });
    outgoing.on('error', () => undefined);
    outgoing.write(Buffer.alloc(100_000));
    setTimeout(() => outgoing.destroy(), 50);
    await new Promise((done) => outgoing.on('close', done));
    await eventually(async () => (await keysOf('broken')).length === 0);
    expect((await gateway.call('/v1/datasets/broken/versions', { key: one.viewer })).status).toBe(404);
  });

  it.each([
    ['a body without a type', { 'content-type': '' }, '', 415, undefined],
    ['JSON', { 'content-type': 'application/json' }, '', 415, undefined],
    ['JSON Lines without a format', { 'content-type': 'application/x-ndjson' }, '', 422, '/query/format'],
    ['an unknown format', {}, '?format=csv', 422, '/query/format'],
    ['an unknown format in the header', { 'x-dataset-format': 'csv' }, '', 422, '/headers/x-dataset-format'],
  ])('as %s is refused', async (_what, headers, query, status, pointer) => {
    const answer = problemOf(await upload('odd', 'x', headers, query));
    expect(answer).toMatchObject({ status, pointers: pointer === undefined ? [] : [pointer] });
  });

  it('under a name that no dataset can have is refused', async () => {
    expect(problemOf(await upload('No_Name', 'x'))).toMatchObject({ status: 422, pointers: ['/path/name'] });
  });

  it('into a project that does not exist is 404 for a platform admin', async () => {
    const answer = await gateway.call('/v1/datasets/x/versions?project=none', {
      raw: 'x',
      headers: { 'content-type': 'text/plain' },
    });
    expect(problemOf(answer)).toMatchObject({ status: 404, code: 'NotFound' });
  });
});

describe('reading', () => {
  it('datasets by name with their newest version, versions newest first, in pages', async () => {
    const two = await gateway.project('two');
    const put = (name: string, raw: string) =>
      gateway.call(`/v1/datasets/${name}/versions`, {
        key: two.submitter,
        raw,
        headers: { 'content-type': 'text/plain' },
      });
    for (const [name, text] of [
      ['a', '1'],
      ['a', '2'],
      ['a', '3'],
      ['b', '1'],
    ] as const)
      await put(name, text);
    const get = async (path: string) => {
      const { body } = await gateway.call(path, { key: two.viewer });
      const items = body['items'] as { name: string; version: number }[];
      return { items: items.map(({ name, version }) => `${name}/${version}`), next: body['nextCursor'] as string };
    };
    const first = await get('/v1/datasets?limit=2');
    expect(first.items).toEqual(['a/3', 'b/1']);
    expect((await get(`/v1/datasets?limit=2&cursor=${first.next}`)).items).toEqual(['corpus/1']);
    const versions = await get('/v1/datasets/a/versions?limit=2');
    expect(versions.items).toEqual(['a/3', 'a/2']);
    const rest = await get(`/v1/datasets/a/versions?limit=2&cursor=${versions.next}`);
    expect([rest.items, rest.next]).toEqual([['a/1'], null]);
  });
});
