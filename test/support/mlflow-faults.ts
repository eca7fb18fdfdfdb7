import { request } from 'node:http';

type Fetch = typeof fetch;

/** Where a process dies around its n-th request: before it is sent, or after it was carried out. */
export interface Death {
  readonly at: number;
  readonly when: 'before' | 'after';
}

/**
 * The fetch of a process that dies: it never comes back from the given request, and nothing of the process goes on, so that what it holds
 * (a lease) stays held. `dead` resolves at that moment.
 */
export function dyingFetch(death: Death): { fetch: Fetch; dead: Promise<'dead'>; sent(): number } {
  const { promise: dead, resolve } = Promise.withResolvers<'dead'>();
  let sent = 0;
  const never = (): Promise<never> => {
    resolve('dead');
    return new Promise(() => undefined);
  };
  const dying: Fetch = async (input, init) => {
    const isLast = ++sent === death.at;
    if (isLast && death.when === 'before') return never();
    const response = await fetch(input, init);
    if (!isLast) return response;
    await response.arrayBuffer();
    return never();
  };
  return { fetch: dying, dead, sent: () => sent };
}

/** What fetch throws when the connection is cut. */
export const cutConnection = (code = 'ECONNRESET'): TypeError =>
  new TypeError('fetch failed', { cause: Object.assign(new Error(`read ${code}`), { code }) });

/** A fetch that names another host than it goes to, as a service name in a cluster does; fetch itself does not let us. */
export const fetchAsHost =
  (host: string): Fetch =>
  (input, init) =>
    new Promise((resolve, reject) => {
      const url = new URL(input instanceof Request ? input.url : input);
      const headers = { ...(init?.headers as Record<string, string>), host };
      const sending = request(url, { method: init?.method ?? 'GET', headers }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () => resolve(new Response(Buffer.concat(chunks), { status: incoming.statusCode ?? 0 })));
      });
      sending.on('error', reject);
      sending.end(init?.body as string | undefined);
    });

export interface RawVersion {
  readonly version: string;
  readonly source: string;
  readonly run_id: string;
  readonly tags: Readonly<Record<string, string>>;
}

/** MLflow as anybody else sees it, without our code. */
export function rawMlflow(url: string) {
  const ask = async (method: string, path: string, body?: object): Promise<Record<string, unknown>> => {
    const response = await fetch(`${url}/api/2.0/mlflow/${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (await response.json()) as Record<string, unknown>;
  };
  const versions = async (model: string): Promise<RawVersion[]> => {
    const query = new URLSearchParams({ filter: `name = '${model}'`, order_by: 'version_number ASC' });
    const answer = await ask('GET', `model-versions/search?${query.toString()}`);
    type Answer = { version: string; source: string; run_id: string; tags?: { key: string; value: string }[] };
    return ((answer['model_versions'] ?? []) as Answer[]).map(({ tags = [], ...rest }) => ({
      ...rest,
      tags: Object.fromEntries(tags.map(({ key, value }) => [key, value])),
    }));
  };
  const aliases = async (model: string): Promise<Record<string, string>> => {
    const answer = await ask('GET', `registered-models/get?${new URLSearchParams({ name: model }).toString()}`);
    const found = (answer['registered_model'] as { aliases?: { alias: string; version: string }[] } | undefined)
      ?.aliases;
    return Object.fromEntries((found ?? []).map(({ alias, version }) => [alias, version]));
  };
  return { ask, versions, aliases };
}
