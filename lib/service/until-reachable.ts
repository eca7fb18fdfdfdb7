import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import type { ServiceContext } from './lifecycle.ts';

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;

/**
 * Does what a start needs from another component, again with back-off while that fails in a way that may pass: the process lives and
 * `/readyz` says what it waits for, instead of a crash loop. Throws what is not retryable (a wrong setting), and the last reason when the
 * service is stopped meanwhile. The check under `name` is left to be replaced by the component's own.
 */
export async function untilReachable<T>(
  service: Pick<ServiceContext<unknown>, 'readiness' | 'logger' | 'signal'>,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  let reason = 'not reached yet';
  service.readiness.add(name, () => {
    throw new Error(reason);
  });
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
    try {
      const result = await work();
      service.readiness.add(name, () => undefined);
      return result;
    } catch (error) {
      if (!(error instanceof TrainyardError) || !error.retryable || service.signal.aborted) throw error;
      reason = messageOf(error);
      service.logger.warn({ err: error, waitMs }, `${name}: ${reason}`);
      await delay(waitMs, undefined, { signal: service.signal }).catch(() => undefined);
      if (service.signal.aborted) throw error;
    }
  }
}
