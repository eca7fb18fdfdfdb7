import { get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const PROBE_TIMEOUT_MS = 3_000;
const PROBE_EVERY_MS = 100;
const BODY_BYTES = 2_000;

export interface ProbeResult {
  readonly ready: boolean;
  /** True for any answer at all, be it a refusal: the process takes connections and its event loop turns. */
  readonly answered: boolean;
  /** Who answered, if it says so. */
  readonly service: string | null;
  /** Why not: the service's own words or the connection error. */
  readonly reason: string;
}

/** Asks a `/readyz` or `/healthz` once and waits `timeoutMs` at most for the next byte. Never rejects. */
export function probe(url: string, timeoutMs: number = PROBE_TIMEOUT_MS): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const silent = (reason: string): void => resolve({ ready: false, answered: false, service: null, reason });
    const request = get(url, { timeout: timeoutMs, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body = (body + chunk).slice(0, BODY_BYTES)));
      response.once('error', (error) => silent(error.message));
      response.once('end', () => {
        const { statusCode = 0 } = response;
        const reason = `answered ${statusCode}: ${body.trim()}`;
        resolve({ ready: statusCode === 200, answered: true, service: serviceOf(body), reason });
      });
    });
    request.once('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.once('error', (error) => silent(error.message || String(error)));
  });
}

/**
 * Asks until ready, telling each refusal to `onRefusal`; resolves to false when `signal` aborts first. An answer that names another service than
 * `service` is none: ours could not have the port.
 */
export async function untilReady(
  url: string,
  signal: AbortSignal,
  onRefusal: (reason: string) => void,
  service?: string,
): Promise<boolean> {
  while (!signal.aborted) {
    const { ready, reason, service: answering } = await probe(url);
    if (signal.aborted) return false;
    const other = service !== undefined && answering !== null && answering !== service;
    if (ready && !other) return true;
    onRefusal(other ? `its port is taken: ${answering} answers there` : reason);
    await delay(PROBE_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

/** Programs that are no service of ours answer as they like. */
function serviceOf(body: string): string | null {
  return /^\{"service":"([^"]+)"/.exec(body)?.[1] ?? null;
}
