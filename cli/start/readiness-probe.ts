import { get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const PROBE_TIMEOUT_MS = 3_000;
const PROBE_EVERY_MS = 100;
const BODY_BYTES = 2_000;

export interface ProbeResult {
  readonly ready: boolean;
  /** Why not: the service's own words or the connection error. */
  readonly reason: string;
}

/** Asks a `/readyz` once. Never rejects. */
export function probe(url: string): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const request = get(url, { timeout: PROBE_TIMEOUT_MS, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body = (body + chunk).slice(0, BODY_BYTES)));
      response.once('error', (error) => resolve({ ready: false, reason: error.message }));
      response.once('end', () => {
        const { statusCode = 0 } = response;
        resolve({ ready: statusCode === 200, reason: `answered ${statusCode}: ${body.trim()}` });
      });
    });
    request.once('timeout', () => request.destroy(new Error(`no answer within ${PROBE_TIMEOUT_MS} ms`)));
    request.once('error', (error) => resolve({ ready: false, reason: error.message || String(error) }));
  });
}

/** Asks until ready, telling each refusal to `onRefusal`; resolves to false when `signal` aborts first. */
export async function untilReady(
  url: string,
  signal: AbortSignal,
  onRefusal: (reason: string) => void,
): Promise<boolean> {
  while (!signal.aborted) {
    const { ready, reason } = await probe(url);
    if (signal.aborted) return false;
    if (ready) return true;
    onRefusal(reason);
    await delay(PROBE_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}
