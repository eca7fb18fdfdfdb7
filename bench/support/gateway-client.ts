import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export const BENCH_PROJECT = 'bench';
const DATASET = 'bench-corpus';
const CONCURRENT_JOBS = 10_000;
const ENDLESS_BUDGET = 1e12;

/** A client of the REST interface with connections that stay open. */
export class GatewayClient {
  readonly #url: URL;
  readonly #key: string;
  readonly #agent: Agent;

  constructor(url: string, key: string, connections: number) {
    this.#url = new URL(url);
    this.#key = key;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  static async open(url: string, adminKeyFile: string, connections: number): Promise<GatewayClient> {
    return new GatewayClient(url, (await readFile(adminKeyFile, 'utf8')).trim(), connections);
  }

  /** Throws when the answer is none of 2xx. */
  async call(method: string, path: string, body: unknown, type = 'application/json'): Promise<Answer> {
    const payload = type === 'application/json' ? JSON.stringify(body) : String(body);
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const headers = {
      authorization: `Bearer ${this.#key}`,
      ...(body === undefined ? {} : { 'content-type': type, 'content-length': String(Buffer.byteLength(payload)) }),
    };
    const sent = request(
      { host: this.#url.hostname, port: this.#url.port, method, path, headers, agent: this.#agent },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const status = response.statusCode ?? 0;
          if (status >= 200 && status < 300) resolve({ status, body: JSON.parse(text) as Record<string, unknown> });
          else reject(new Error(`${method} ${path}: ${status} ${text}`));
        });
      },
    );
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : payload);
    return promise;
  }

  /** A project without limits that matter, and a dataset in it. */
  async prepare(text: string): Promise<void> {
    const limits = { maxRunningWorkflows: CONCURRENT_JOBS, gpuSecondsBudget: ENDLESS_BUDGET };
    await this.call('PUT', `/v1/projects/${BENCH_PROJECT}`, limits);
    await this.call('POST', `/v1/datasets/${DATASET}/versions?project=${BENCH_PROJECT}`, text, 'text/plain');
  }

  async submit(idempotencyKey: string, maxSteps: number): Promise<string> {
    const body = { type: 'fine_tune', idempotencyKey, spec: benchSpec(maxSteps) };
    const answer = await this.call('POST', `/v1/jobs?project=${BENCH_PROJECT}`, body);
    return String(answer.body['id']);
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** What the benchmarks' jobs are asked to do. */
export const benchSpec = (maxSteps: number) => ({
  dataset: { name: DATASET },
  base: { config: { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 } },
  method: 'full',
  model: { name: 'bench-model' },
  hyperparameters: { maxSteps, learningRate: 0.008 },
  evaluation: { suites: [{ suite: 'held_out_text' }] },
});
