import { setTimeout as delay } from 'node:timers/promises';
import { http } from '#lib/service/node-http.ts';

const PROBE_TIMEOUT_MS = 3_000;
const PROBE_EVERY_MS = 100;
const BODY_BYTES = 2_000;

export interface ProbeResult {
  readonly ready: boolean;
  /** True for any answer at all, be it a refusal: the process takes connections and its event loop turns. */
  readonly answered: boolean;
  /** Why not: the service's own words or the connection error. */
  readonly reason: string;
}

export interface ProbeOptions {
  /** For the next byte; default 3 s. */
  readonly timeoutMs?: number;
  /** What the process calls itself. An answer that names another one is no answer of ours: it could not have its port. Absent: not compared. */
  readonly service?: string | undefined;
}

/** Asks a `/readyz` or `/healthz` once. Never rejects. */
export function probe(url: string, { timeoutMs = PROBE_TIMEOUT_MS, service }: ProbeOptions = {}): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const silent = (reason: string): void => resolve({ ready: false, answered: false, reason });
    const request = http.get(url, { timeout: timeoutMs, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body = (body + chunk).slice(0, BODY_BYTES)));
      response.once('error', (error) => silent(error.message));
      response.once('end', () => {
        const { statusCode = 0 } = response;
        const other = service === undefined ? null : otherService(body, service);
        const reason =
          other === null ? `answered ${statusCode}: ${body.trim()}` : `its port is taken: ${other} answers there`;
        resolve({ ready: statusCode === 200 && other === null, answered: true, reason });
      });
    });
    request.once('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.once('error', (error) => silent(error.message || String(error)));
  });
}

/** Asks until ready, telling each refusal to `onRefusal`; resolves to false when `signal` aborts first. */
export async function untilReady(
  url: string,
  signal: AbortSignal,
  onRefusal: (reason: string) => void,
  service?: string,
): Promise<boolean> {
  while (!signal.aborted) {
    const { ready, reason } = await probe(url, { service });
    if (signal.aborted) return false;
    if (ready) return true;
    onRefusal(reason);
    await delay(PROBE_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

/** Who answered, if it says that it is another one; programs that are no service of ours answer as they like. */
function otherService(body: string, service: string): string | null {
  const answering = /^\{"service":"([^"]+)"/.exec(body)?.[1];
  return answering === undefined || answering === service ? null : answering;
}
