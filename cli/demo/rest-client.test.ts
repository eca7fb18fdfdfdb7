import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Type } from '#typebox';
import { afterEach, describe, expect, it } from 'vitest';
import { RestClient } from './rest-client.ts';

const Thing = Type.Object({ id: Type.String() });

describe('the client of the REST API', () => {
  let server: Server | undefined;
  afterEach(async () => {
    server?.close();
    server?.closeAllConnections();
    if (server !== undefined) await once(server, 'close');
    server = undefined;
  });

  /** A gateway that gives the answers one after the other and keeps the last. */
  async function gateway(...answers: readonly (readonly [status: number, body: string])[]) {
    const requests: { url: string; key: string | undefined }[] = [];
    server = createServer((request, response) => {
      requests.push({ url: request.url ?? '', key: request.headers.authorization });
      const [status, body] = answers[Math.min(requests.length, answers.length) - 1] ?? [500, ''];
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}`, requests };
  }

  it('sends its key and gives the answer when it matches', async () => {
    const { url, requests } = await gateway([200, '{"id":"a","more":1}']);
    const client = new RestClient(url, 'admin', new AbortController().signal).withKey('own');
    await expect(client.call(Thing, '/v1/things')).resolves.toMatchObject({ id: 'a' });
    expect(requests).toEqual([{ url: '/v1/things', key: 'Bearer own' }]);
  });

  it('shows a refusal with its code and the fields', async () => {
    const problem = { code: 'ValidationFailed', detail: 'no', errors: [{ pointer: '/spec', message: 'is wrong' }] };
    const { url } = await gateway([422, JSON.stringify(problem)]);
    await expect(new RestClient(url, '', new AbortController().signal).call(Thing, '/')).rejects.toMatchObject({
      code: 'ValidationFailed',
      message: 'no\n  /spec: is wrong',
    });
  });

  it('refuses an answer that is not what the schema says', async () => {
    const { url } = await gateway([200, '{"id":7}'], [200, 'hello']);
    const client = new RestClient(url, '', new AbortController().signal);
    await expect(client.call(Thing, '/a')).rejects.toThrow(/unexpected at \/id/);
    await expect(client.call(Thing, '/b')).rejects.toThrow(/without JSON/);
  });

  it('tries again while the gateway is away', async () => {
    const { url, requests } = await gateway([503, '{}'], [200, '{"id":"b"}']);
    const client = new RestClient(url, '', new AbortController().signal);
    await expect(client.call(Thing, '/')).resolves.toEqual({ id: 'b' });
    expect(requests).toHaveLength(2);
  });

  it('stops at once when it is asked to', async () => {
    const stop = new AbortController();
    const client = new RestClient('http://127.0.0.1:1', '', stop.signal);
    const call = client.call(Thing, '/');
    stop.abort(new Error('enough'));
    await expect(call).rejects.toThrow(/enough|abort/);
  });
});
