import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What goes wrong with one request. `at` is a share of the body, 0 to 1. */
export type Fault =
  | { readonly kind: 'latency'; readonly ms: number }
  /** Answered by the proxy; the server sees nothing. */
  | { readonly kind: 'internal-error' }
  | { readonly kind: 'slow-down' }
  /** Neither answered nor closed. */
  | { readonly kind: 'hang' }
  /** The connection breaks while the request is sent: the server gets a part of it. */
  | { readonly kind: 'cut-request'; readonly at: number }
  /** The server did what it was asked, and nobody hears of it. */
  | { readonly kind: 'lose-answer' }
  | { readonly kind: 'cut-response'; readonly at: number }
  /** A shorter body that looks complete: its length is adapted. */
  | { readonly kind: 'truncate-response'; readonly at: number }
  | { readonly kind: 'flip-request'; readonly at: number }
  | { readonly kind: 'flip-response'; readonly at: number };

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly fault: Fault['kind'] | null;
}

/** Decides about the request that has come in; null lets it through. */
export type Script = (request: Omit<SeenRequest, 'fault'>) => Fault | null;

/** An HTTP proxy before one server that breaks requests as a script says, and remembers all of them. */
export class FaultProxy {
  readonly seen: SeenRequest[] = [];
  script: Script = () => null;
  readonly #upstream: URL;
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(upstream: URL) {
    this.#upstream = upstream;
    this.#server = createServer((incoming, outgoing) => {
      const { socket } = incoming;
      this.#handle(incoming, outgoing).catch(() => socket.destroy());
    });
  }

  static async start(upstream: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(new URL(upstream));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await closed;
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(incoming.url ?? '', this.#upstream);
    const { method = '', headers } = incoming;
    const seen = { method, path: decodeURIComponent(pathname), query: searchParams, headers };
    const fault = this.script(seen);
    this.seen.push({ ...seen, fault: fault?.kind ?? null });
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'internal-error') return refuse(incoming, outgoing, 500, 'InternalError');
    if (fault?.kind === 'slow-down') return refuse(incoming, outgoing, 503, 'SlowDown');
    if (fault?.kind === 'latency') await delay(fault.ms);
    const answer = await this.#forward(incoming, fault);
    if (fault?.kind === 'lose-answer') {
      await answer.resume().toArray();
      throw new Error('lost');
    }
    await respond(answer, outgoing, method !== 'HEAD', fault);
  }

  /** Sends the request on as it came, names and order of its headers included: they are signed. */
  async #forward(incoming: IncomingMessage, fault: Fault | null): Promise<IncomingMessage> {
    const forwarded = request({
      host: this.#upstream.hostname,
      port: this.#upstream.port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.rawHeaders,
      agent: this.#agent,
    });
    const answered = once(forwarded, 'response') as Promise<[IncomingMessage]>;
    answered.catch(() => undefined);
    const length = Number(incoming.headers['content-length'] ?? 0);
    const cutAt = fault?.kind === 'cut-request' ? Math.floor(fault.at * length) : Number.POSITIVE_INFINITY;
    const flipAt = fault?.kind === 'flip-request' ? Math.floor(fault.at * length) : -1;
    let position = 0;
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      if (position + chunk.length > cutAt) break;
      flip(chunk, flipAt - position);
      position += chunk.length;
      if (!forwarded.write(chunk)) await Promise.race([once(forwarded, 'drain'), answered]);
    }
    if (fault?.kind === 'cut-request') {
      forwarded.destroy();
      throw new Error('cut');
    }
    forwarded.end();
    const [answer] = await answered;
    return answer;
  }
}

async function respond(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  hasBody: boolean,
  fault: Fault | null,
): Promise<void> {
  const length = Number(answer.headers['content-length'] ?? 0);
  const end =
    fault?.kind === 'cut-response' || fault?.kind === 'truncate-response'
      ? Math.floor(fault.at * length)
      : Number.POSITIVE_INFINITY;
  const flipAt = fault?.kind === 'flip-response' ? Math.floor(fault.at * length) : -1;
  const headers = [...answer.rawHeaders];
  if (fault?.kind === 'truncate-response' && hasBody && length > 0) {
    const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'content-length');
    headers[at + 1] = String(end);
  }
  outgoing.writeHead(answer.statusCode ?? 502, headers);
  let position = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    flip(chunk, flipAt - position);
    const piece = chunk.subarray(0, Math.max(0, end - position));
    position += chunk.length;
    if (piece.length > 0 && !outgoing.write(piece)) await once(outgoing, 'drain');
    if (position >= end) break;
  }
  if (fault?.kind === 'cut-response') outgoing.destroy();
  else outgoing.end();
}

function flip(chunk: Buffer, at: number): void {
  const byte = chunk[at];
  if (byte !== undefined) chunk[at] = byte ^ 1;
}

async function refuse(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  status: number,
  code: string,
): Promise<void> {
  await incoming.resume().toArray();
  outgoing.writeHead(status, { 'content-type': 'application/xml' });
  outgoing.end(
    incoming.method === 'HEAD'
      ? ''
      : `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>by the fault proxy</Message></Error>`,
  );
}
