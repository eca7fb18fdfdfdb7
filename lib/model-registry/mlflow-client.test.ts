import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cutConnection } from '../../test/support/mlflow-faults.ts';
import { MlflowClient, MlflowRefusal, type MlflowRequest } from './mlflow-client.ts';

type Answer = (response: ServerResponse) => void;
const json =
  (status: number, body: object): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const refusal = (status: number, code: string): Answer => json(status, { error_code: code, message: 'no' });
const text =
  (status: number, body: string): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
const cut: Answer = (response) => response.destroy();

const READ: MlflowRequest = { method: 'GET', path: 'runs/get', query: { run_id: 'a b' } };
const CREATE: MlflowRequest = { method: 'POST', path: 'runs/create', body: { a: 1 }, repeatable: false };

describe('the MLflow client', () => {
  let server: Server;
  let answers: Answer[];
  let seen: { url: string; headers: IncomingHttpHeaders }[];
  let pauses: number[];
  beforeEach(async () => {
    [answers, seen, pauses] = [[], [], []];
    server = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        seen.push({ url: request.url ?? '', headers: request.headers });
        (answers.shift() ?? json(200, { last: true }))(response);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );

  const client = (authorization?: string): MlflowClient =>
    new MlflowClient({
      address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/under/path`,
      ...(authorization === undefined ? {} : { authorization }),
      wait: async (ms) => pauses.push(ms),
    });

  test('asks below the path of the address, with its credentials', async () => {
    answers = [json(200, { run: 1 })];
    expect(await client('Bearer t').call(READ)).toEqual({ run: 1 });
    expect(seen[0]?.url).toBe('/under/path/api/2.0/mlflow/runs/get?run_id=a+b');
    expect(seen[0]?.headers).toMatchObject({ authorization: 'Bearer t', 'content-type': 'application/json' });
  });

  test.each([
    ['500 with an error code', refusal(500, 'INTERNAL_ERROR')],
    ['503 without one', text(503, 'upstream')],
    ['429', text(429, 'slow down')],
    ['the 400 of racing aliases', refusal(400, 'BAD_REQUEST')],
    ['a cut connection', cut],
  ])('%s is tried again with growing pauses, four times in all', async (_what, answer) => {
    answers = [answer, answer, answer];
    expect(await client().call(READ)).toEqual({ last: true });
    expect(seen).toHaveLength(4);
    expect(pauses.every((ms, n) => ms >= 50 * 4 ** n && ms <= 150 * 4 ** n)).toBe(true);
    answers = [answer, answer, answer, answer];
    await expect(client().call(READ)).rejects.toMatchObject({ code: 'RegistryUnavailable', retryable: true });
  });

  test.each([
    ['an error', refusal(500, 'INTERNAL_ERROR')],
    ['a cut connection', cut],
  ])('a call that is not repeatable is never sent again after %s', async (_what, answer) => {
    answers = [answer];
    await expect(client().call(CREATE)).rejects.toMatchObject({ code: 'RegistryUnavailable' });
    expect(seen).toHaveLength(1);
  });

  test('a call that is not repeatable is tried again while nobody listens', async () => {
    let tries = 0;
    const { port } = server.address() as AddressInfo;
    const opening = new MlflowClient({
      address: `http://127.0.0.1:${port}`,
      fetch: async (input, init) => {
        if (++tries < 3) throw cutConnection('ECONNREFUSED');
        return fetch(input, init);
      },
      wait: async () => undefined,
    });
    expect(await opening.call(CREATE)).toEqual({ last: true });
    expect(seen).toHaveLength(1);
  });

  test('a probe is sent once', async () => {
    answers = [text(503, 'upstream')];
    await expect(client().callOnce(READ)).rejects.toMatchObject({ code: 'RegistryUnavailable' });
    expect([seen.length, pauses.length]).toEqual([1, 0]);
  });

  test('a refusal has its error code, whatever the status, and is not tried again', async () => {
    for (const status of [400, 404, 409]) {
      answers = [refusal(status, 'RESOURCE_DOES_NOT_EXIST')];
      const error: unknown = await client()
        .call(READ)
        .catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(MlflowRefusal);
      expect(error).toMatchObject({ errorCode: 'RESOURCE_DOES_NOT_EXIST' });
    }
    expect(seen).toHaveLength(3);
  });

  test.each<[string, Answer, RegExp]>([
    ['the guard of host names', text(403, 'Invalid Host header - possible DNS rebinding attack'), /--allowed-hosts/],
    ['a login', text(401, 'You are not authenticated'), /MLFLOW_TRACKING_TOKEN/],
    ['a page of another program', text(200, '<html>'), /MODEL_REGISTRY_URL: status 200 <html>/],
    ['a redirect', (r) => r.writeHead(302, { location: '/login' }).end(), /status 302/],
  ])('the answer of %s says what to do, at once', async (_what, answer, message) => {
    answers = [answer];
    await expect(client().call(READ)).rejects.toMatchObject({
      code: 'RegistryUnavailable',
      message: expect.stringMatching(message) as string,
    });
    expect(seen).toHaveLength(1);
  });

  test('long messages of MLflow, which can hold SQL, are cut', async () => {
    answers = [json(400, { error_code: 'RESOURCE_ALREADY_EXISTS', message: 'x'.repeat(5_000) })];
    const error: unknown = await client()
      .call(READ)
      .catch((thrown: unknown) => thrown);
    expect((error as Error).message.length).toBeLessThan(400);
  });
});
