import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import { YieldedError } from './activity.ts';
import { FIRST_PAUSE_MS, pauses, type WaitClock } from './patience.ts';

/**
 * Asks the registry until it serves: `RegistryUnavailable` is no failure of the job, whose results are stored. Heartbeats go on meanwhile.
 * After ten minutes the attempt yields, so that another job gets the slot; it is queued again, burns no retry, and finds what it stored.
 * Any other error is thrown. `ask` must be repeatable, as every call of the port is.
 */
export async function whenRegistryServes<T>(
  platform: {
    readonly registry: ModelRegistry;
    readonly log: { warn(fields: object, message: string): void };
    readonly clock?: WaitClock;
  },
  signal: AbortSignal,
  ask: (registry: ModelRegistry) => Promise<T>,
): Promise<T> {
  const askOnce = async (): Promise<{ readonly value: T } | null> => {
    try {
      return { value: await ask(platform.registry) };
    } catch (error) {
      if (!(error instanceof TrainyardError) || error.code !== 'RegistryUnavailable') throw error;
      platform.log.warn({ err: error }, 'the model registry does not serve, waiting');
      return null;
    }
  };
  const first = await askOnce();
  if (first !== null) return first.value;
  for await (const _ of pauses(FIRST_PAUSE_MS, { clock: platform.clock, signal })) {
    const answer = await askOnce();
    if (answer !== null) return answer.value;
  }
  throw new YieldedError(null, 'RegistryUnavailable');
}
