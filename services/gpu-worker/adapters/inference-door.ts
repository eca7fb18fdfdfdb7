import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { http } from '#lib/service/node-http.ts';
import { Value } from '#typebox/value';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { INFERENCE_PATH, type InferenceProblem, InferenceRequest } from '#lib/serving/inference-protocol.ts';
import type { Logger } from '#lib/service/logger.ts';
import type { ServedFolders } from '../app/served-folders.ts';
import type { ServingProcess } from './serving-process.ts';

/** A prompt is text: 100,000 characters are at most 400 kB, escaped twice that. */
const MAX_BODY_BYTES = 1_048_576;

export interface InferenceDoorOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** Required of every request; null: whoever reaches the port may ask, so that it must be loopback. */
  readonly token: string | null;
  readonly folders: Pick<ServedFolders, 'placeOf'>;
  readonly process: Pick<ServingProcess, 'complete'>;
  readonly log: Logger;
}

export interface InferenceDoor {
  readonly port: number;
  close(): Promise<void>;
}

/** `POST /v1/infer` for the gateway: fetches the model, asks the serving process. Answers JSON always; statuses: 200, 400, 401, 404, 413, 502, 503. */
export async function openInferenceDoor(options: InferenceDoorOptions): Promise<InferenceDoor> {
  const server = http.createServer((request, response) => {
    answer(options, request).then(
      (body) => send(response, 200, body),
      (error: unknown) => {
        const problem = problemOf(error);
        if (problem.status === 502) options.log.error({ err: error }, 'a model could not answer');
        send(response, problem.status, problem.body);
      },
    );
  });
  server.listen(options.port, options.host);
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => close(server) };
}

async function answer(options: InferenceDoorOptions, request: IncomingMessage): Promise<unknown> {
  if (request.method !== 'POST' || request.url !== INFERENCE_PATH)
    throw new Refused(404, 'NotFound', 'there is no such path');
  if (options.token !== null && !sameToken(request.headers.authorization ?? '', `Bearer ${options.token}`))
    throw new Refused(401, 'Unauthenticated', 'INFERENCE_TOKEN of both sides differ');
  const { model, ...generation } = parse(await bodyOf(request));
  const place = await options.folders.placeOf(model);
  const served = await options.process.complete(place, generation);
  if (served.ok) return served.completion;
  throw new Refused(served.problem.retryable ? 503 : 502, served.problem.code, served.problem.message);
}

class Refused extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** By digest: equal lengths, and no time that depends on how much is right. */
const sameToken = (given: string, expected: string): boolean => timingSafeEqual(digestOf(given), digestOf(expected));
const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.byteLength;
    if (bytes > MAX_BODY_BYTES) throw new Refused(413, 'BodyTooLarge', 'the request is too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parse(body: string): InferenceRequest {
  let value: unknown = null;
  try {
    value = JSON.parse(body);
  } catch {
    throw new Refused(400, 'MalformedJson', 'the body is not JSON');
  }
  if (Value.Check(InferenceRequest, value)) return value;
  const [error] = Value.Errors(InferenceRequest, value);
  throw new Refused(400, 'ValidationFailed', `${error?.instancePath ?? ''} ${error?.message ?? ''}`);
}

function problemOf(error: unknown): { status: number; body: InferenceProblem } {
  const message = messageOf(error);
  if (error instanceof Refused) {
    const { status, code } = error;
    return { status, body: { code, message, retryable: status === 503 } };
  }
  if (!(error instanceof TrainyardError)) return { status: 502, body: { code: 'Internal', message, retryable: false } };
  const { code, retryable } = error;
  return { status: retryable ? 503 : 502, body: { code, message, retryable } };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
