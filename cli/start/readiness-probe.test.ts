import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { untilReady } from './readiness-probe.ts';

let body = '';
const server = createServer((_request, response) => void response.end(body));
let url = '';
beforeEach(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/readyz`;
});
afterEach(() => void server.close());

/** Whether the gateway is held to be ready at the first answer, and why not. */
async function asked(): Promise<{ ready: boolean; refusals: string[] }> {
  const stop = new AbortController();
  const refusals: string[] = [];
  const onRefusal = (reason: string): void => {
    refusals.push(reason);
    stop.abort();
  };
  return { ready: await untilReady(url, stop.signal, onRefusal, 'gateway'), refusals };
}

describe('a service is ready', () => {
  it.each(['{"service":"gateway","ready":true,"components":[]}', 'ready'])('by the answer %s', async (answer) => {
    body = answer;
    await expect(asked()).resolves.toEqual({ ready: true, refusals: [] });
  });

  it('not by the answer of another service that was given its port', async () => {
    body = '{"service":"orchestrator","ready":true,"components":[]}';
    await expect(asked()).resolves.toEqual({
      ready: false,
      refusals: ['its port is taken: orchestrator answers there'],
    });
  });
});
