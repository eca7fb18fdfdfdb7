import { setTimeout as delay } from 'node:timers/promises';
import type { Static, TSchema } from '#typebox';
import { Value } from '#typebox/value';
import { Problem } from './api-answers.ts';

/** The gateway said no, or something that is not an answer of its API. */
export class ApiProblem extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'ApiProblem';
    this.code = code;
  }
}

interface Call {
  readonly method?: 'GET' | 'PUT' | 'POST';
  /** JSON when it is no buffer. */
  readonly body?: unknown;
  /** Default: JSON. */
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A gateway that was killed is back within seconds; longer than this it is not. Every call the demo makes may be made twice. */
const RETRY_FOR_MS = 30_000;
const RETRY_EVERY_MS = 250;
/** The largest body is the upload of 7 MB. */
const CALL_TIMEOUT_MS = 60_000;
const SERVICE_UNAVAILABLE = 503;

/** Calls to the public REST API with one key. Tries again while the gateway is away. */
export class RestClient {
  readonly #baseUrl: string;
  readonly #key: string;
  readonly #signal: AbortSignal;

  constructor(baseUrl: string, key: string, signal: AbortSignal) {
    this.#baseUrl = baseUrl;
    this.#key = key;
    this.#signal = signal;
  }

  withKey(key: string): RestClient {
    return new RestClient(this.#baseUrl, key, this.#signal);
  }

  /** The answer, checked against its schema. Throws `ApiProblem`; what the signal was aborted with; or the error of the connection. */
  async call<S extends TSchema>(schema: S, path: string, call: Call = {}): Promise<Static<S>> {
    const giveUpAtMs = performance.now() + RETRY_FOR_MS;
    for (;;) {
      const response = await this.#send(path, call).catch((error: unknown) => {
        this.#signal.throwIfAborted();
        if (performance.now() > giveUpAtMs) throw error;
        return null;
      });
      if (response !== null && (response.status !== SERVICE_UNAVAILABLE || performance.now() > giveUpAtMs))
        return parsed(schema, path, response);
      await delay(RETRY_EVERY_MS, undefined, { signal: this.#signal });
    }
  }

  async #send(path: string, { method = 'GET', body, contentType = 'application/json', headers = {} }: Call) {
    const response = await fetch(this.#baseUrl + path, {
      method,
      headers: {
        ...headers,
        authorization: `Bearer ${this.#key}`,
        ...(body === undefined ? {} : { 'content-type': contentType }),
      },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
      signal: AbortSignal.any([this.#signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]),
    });
    return { ok: response.ok, status: response.status, text: await response.text() };
  }
}

function parsed<S extends TSchema>(
  schema: S,
  path: string,
  { ok, status, text }: { ok: boolean; status: number; text: string },
): Static<S> {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new ApiProblem(`Http${status}`, `${path} answered ${status} without JSON`);
  }
  if (!ok && Value.Check(Problem, answer)) {
    const fields = (answer.errors ?? []).map(({ pointer, message }) => `\n  ${pointer}: ${message}`);
    throw new ApiProblem(answer.code, answer.detail + fields.join(''));
  }
  if (ok && Value.Check(schema, answer)) return answer;
  const [first] = Value.Errors(schema, answer);
  throw new ApiProblem(
    `Http${status}`,
    `${path} answered ${status} with something unexpected at ${first?.instancePath || '/'}: ${first?.message ?? ''}`,
  );
}
