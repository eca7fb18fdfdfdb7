import { Value } from '#typebox/value';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import {
  Completion,
  INFERENCE_PATH,
  InferenceProblem,
  type InferenceRequest,
} from '#lib/serving/inference-protocol.ts';

/** A first request loads the model: seconds for a small one. */
const TIMEOUT_MS = 25_000;

/** Asks the inference server at INFERENCE_URL. Without one, every request is `InferenceUnavailable`. */
export class InferenceClient {
  readonly #url: string | null;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: { readonly url?: string | undefined; readonly token?: string | undefined }) {
    this.#url = options.url === undefined ? null : new URL(INFERENCE_PATH, options.url).href;
    this.#headers = {
      'content-type': 'application/json',
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    };
  }

  /** Throws `InferenceUnavailable`, which passes, and `InferenceFailed`, which does not. */
  async infer(request: InferenceRequest): Promise<Completion> {
    if (this.#url === null) throw unavailable('INFERENCE_URL is not set: this platform answers no completions');
    const { status, body } = await this.#post(this.#url, request);
    if (status === 200 && Value.Check(Completion, body)) return body;
    const problem = Value.Check(InferenceProblem, body) ? body : null;
    const reason = problem === null ? `the inference server answered ${status}` : `${problem.code}: ${problem.message}`;
    if (status === 503 || problem === null) throw unavailable(reason);
    // Its address and ours are nobody's business; what it says about a model is.
    throw new TrainyardError('InferenceFailed', `the model cannot answer: ${reason}`);
  }

  async #post(url: string, request: InferenceRequest): Promise<{ status: number; body: unknown }> {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: this.#headers,
        body: JSON.stringify(request),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      return { status: response.status, body: await response.json() };
    } catch (error) {
      throw unavailable(`no inference server answers: ${messageOf(error)}`);
    }
  }
}

const unavailable = (reason: string): TrainyardError => new TrainyardError('InferenceUnavailable', reason);
