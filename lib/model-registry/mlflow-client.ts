import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';

export interface MlflowRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below `/api/2.0/mlflow/`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  /** False for the two calls that make something new each time: they are not sent again when their answer is lost. */
  readonly repeatable?: boolean;
}

/** Sends one request; what the client itself and a client under a lease have in common. */
export type MlflowCall = (request: MlflowRequest) => Promise<unknown>;

export interface MlflowClientOptions {
  /** `http(s)://host[:port][/path]`, without a slash at its end and without credentials. */
  readonly address: string;
  /** Value of the `authorization` header. */
  readonly authorization?: string;
  /** For tests; default: the runtime's. */
  readonly fetch?: typeof fetch;
  readonly wait?: (ms: number) => Promise<unknown>;
}

/** MLflow understood the request and refused it. Callers match `errorCode`, never the status: "exists" and "no such alias" are both 400. */
export class MlflowRefusal extends Error {
  readonly errorCode: string;
  constructor(errorCode: string, message: string) {
    super(message);
    this.name = 'MlflowRefusal';
    this.errorCode = errorCode;
  }
}

/** MLflow answers in 20 to 400 ms (measured on 2 cores, sqlite, batches of 1,000 points); slower than this is hung. */
const REQUEST_TIMEOUT_MS = 8_000;

/** Pauses before the second to fourth try. With the time-outs a call takes at most 36 s, which a lease must outlive. */
const BACKOFF_MS = [100, 400, 1_600];

/** MLflow's messages can hold whole SQL statements. */
const MAX_REASON_CHARACTERS = 300;

/** Error codes that say "not now". BAD_REQUEST is what racing calls about aliases get from the sqlite store (measured: 3 of 16). */
const TRY_AGAIN = new Set(['BAD_REQUEST', 'INTERNAL_ERROR', 'TEMPORARILY_UNAVAILABLE', 'REQUEST_LIMIT_EXCEEDED']);

/**
 * MLflow 3's REST interface. `call` answers with the parsed body. A refusal is `MlflowRefusal`; a server that is not reached, is busy or
 * does not let us in is `RegistryUnavailable`, after up to four tries for calls that may be repeated.
 */
export class MlflowClient {
  readonly #options: MlflowClientOptions;

  constructor(options: MlflowClientOptions) {
    this.#options = options;
  }

  readonly call: MlflowCall = async (request) => {
    const wait = this.#options.wait ?? delay;
    for (const pauseMs of BACKOFF_MS) {
      const answer = await this.#once(request);
      if (answer.kind === 'ok') return answer.body;
      if (answer.kind === 'refused') throw answer.error;
      if (request.repeatable === false && answer.mayHaveArrived) throw answer.error;
      await wait(pauseMs * (0.5 + Math.random()));
    }
    return this.callOnce(request);
  };

  /** One try, for a probe that does not wait. */
  readonly callOnce: MlflowCall = async (request) => {
    const answer = await this.#once(request);
    if (answer.kind === 'ok') return answer.body;
    throw answer.error;
  };

  async #once(request: MlflowRequest): Promise<Answer> {
    const { address, authorization } = this.#options;
    const query = request.query === undefined ? '' : `?${new URLSearchParams(request.query).toString()}`;
    try {
      const response = await (this.#options.fetch ?? fetch)(`${address}/api/2.0/mlflow/${request.path}${query}`, {
        method: request.method,
        // A redirect leads to some login page, never to MLflow.
        redirect: 'manual',
        headers: {
          'content-type': 'application/json',
          ...(authorization === undefined ? {} : { authorization }),
        },
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      return readAnswer(response.status, await response.text());
    } catch (cause) {
      const reason = messageOf((cause as { cause?: unknown }).cause ?? cause);
      const error = unavailable(`MLflow does not answer: ${reason}`, cause);
      return { kind: 'unavailable', mayHaveArrived: !neverSent(cause), error };
    }
  }
}

type Answer =
  | { readonly kind: 'ok'; readonly body: unknown }
  | { readonly kind: 'refused'; readonly error: Error }
  | { readonly kind: 'unavailable'; readonly mayHaveArrived: boolean; readonly error: Error };

/** True for an error before a connection stood: the server cannot have seen the request. */
const neverSent = (error: unknown): boolean => {
  const code = ((error as { cause?: unknown }).cause as { code?: unknown } | undefined)?.code;
  return code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN';
};

function readAnswer(status: number, text: string): Answer {
  const body = parseObject(text);
  if (status >= 200 && status < 300 && body !== null) return { kind: 'ok', body };
  const errorCode = body?.['error_code'];
  if (typeof errorCode !== 'string') return withoutErrorCode(status, text);
  const reason = `${errorCode}: ${String(body?.['message']).slice(0, MAX_REASON_CHARACTERS)}`;
  return TRY_AGAIN.has(errorCode)
    ? { kind: 'unavailable', mayHaveArrived: true, error: unavailable(`MLflow cannot serve now: ${reason}`) }
    : { kind: 'refused', error: new MlflowRefusal(errorCode, `MLflow refuses: ${reason}`) };
}

/** Text and HTML come from MLflow's guards, from its login, or from a proxy before it. None of them is the fault of the job: it waits. */
function withoutErrorCode(status: number, text: string): Answer {
  const said = text.trim().slice(0, MAX_REASON_CHARACTERS);
  if (status === 429 || status >= 500) {
    const error = unavailable(`MLflow cannot serve now: status ${status} ${said}`);
    return { kind: 'unavailable', mayHaveArrived: true, error };
  }
  const why =
    status === 403 && /host header|cross-origin/i.test(text)
      ? `it does not serve the host name in MODEL_REGISTRY_URL: start it with --allowed-hosts naming that host and port (${said})`
      : status === 401 || status === 403
        ? `it does not accept our credentials: see MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (status ${status} ${said})`
        : `something else than MLflow's interface answers at MODEL_REGISTRY_URL: status ${status} ${said}`;
  return { kind: 'refused', error: unavailable(`MLflow cannot be used: ${why}`) };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

const unavailable = (message: string, cause?: unknown): TrainyardError =>
  new TrainyardError('RegistryUnavailable', message, cause === undefined ? {} : { cause });
