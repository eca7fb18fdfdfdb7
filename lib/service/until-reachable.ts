import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import type { ServiceContext } from './lifecycle.ts';

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;

/** What a service depends on: its name in `/readyz`, and the variable that says where it is. */
interface Component {
  readonly name: string;
  readonly variable: string;
}

/**
 * Does what a start needs from another component, again with back-off while that fails in a way that may pass: the process lives and
 * `/readyz` says what it waits for, instead of a crash loop. Throws what is not retryable (a wrong setting), and the last reason when the
 * service is stopped meanwhile. The check under `name` is left to be replaced by the component's own.
 */
export async function untilReachable<T>(
  service: Pick<ServiceContext<unknown>, 'readiness' | 'logger' | 'signal'>,
  { name, variable }: Component,
  work: () => Promise<T>,
): Promise<T> {
  let reason = 'not reached yet';
  const waiting = (): never => {
    throw new Error(reason);
  };
  service.readiness.add(name, waiting, variable);
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
    try {
      const result = await work();
      service.readiness.add(name, () => undefined, variable);
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

/**
 * For a component that a service can start without: adds its check to `/readyz`, and logs why it is not there until it was once. Returns at
 * once; what needs the component waits or fails by itself.
 */
export function sayUntilReached(
  service: Pick<ServiceContext<unknown>, 'readiness' | 'logger' | 'signal'>,
  { name, variable }: Component,
  check: () => Promise<void>,
): void {
  service.readiness.add(name, check, variable);
  void (async () => {
    for (let waitMs = FIRST_WAIT_MS; !service.signal.aborted; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
      try {
        return await check();
      } catch (error) {
        service.logger.warn({ variable, waitMs }, `${name}: ${messageOf(error)}`);
        await delay(waitMs, undefined, { signal: service.signal }).catch(() => undefined);
      }
    }
  })();
}
