import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import { type Activity, YieldedError } from './activity.ts';
import { LONGEST_PAUSE_MS, MACHINE_CLOCK, PATIENCE_MS, type WaitClock } from './registry-wait.ts';

const FIRST_PAUSE_MS = 1_000;

/**
 * The activity, for which an object store that does not serve is no failure: an attempt that ends with `StoreUnavailable` waits in its slot until the
 * store serves again, ten minutes at most, and then yields: it is queued again under the next epoch, burns no retry, and finds what it stored. Without this,
 * three attempts that are refused at once are over within three seconds, and so is the job.
 * Heartbeats go on meanwhile. The first pause doubles with each attempt: a store that answers and still refuses must not fill the log.
 */
export function waitingForStore(
  activity: Activity,
  platform: {
    readonly store: Pick<ObjectStore, 'check'>;
    readonly log: { warn(fields: object, message: string): void };
    readonly clock?: WaitClock;
  },
): Activity {
  return {
    ...activity,
    run: async (context) => {
      try {
        return await activity.run(context);
      } catch (error) {
        if (!isStoreUnavailable(error) || context.signal.aborted) throw error;
        const { workflowId, activityId, epoch } = context;
        platform.log.warn({ err: error, workflowId, activityId, epoch }, 'the object store does not serve, waiting');
        await untilServes(platform.store, Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (epoch - 1)), {
          clock: platform.clock ?? MACHINE_CLOCK,
          signal: context.signal,
        });
        throw new YieldedError(null, 'StoreUnavailable');
      }
    },
  };
}

/** Returns when the store serves or the patience is over; rejects when the signal is aborted. */
async function untilServes(
  store: Pick<ObjectStore, 'check'>,
  firstPauseMs: number,
  { clock, signal }: { readonly clock: WaitClock; readonly signal: AbortSignal },
): Promise<void> {
  const giveUpAt = clock.now() + PATIENCE_MS;
  for (
    let pauseMs = firstPauseMs;
    clock.now() + pauseMs < giveUpAt;
    pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)
  ) {
    await clock.wait(pauseMs, signal);
    try {
      await store.check();
      return;
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
    }
  }
}

const isStoreUnavailable = (error: unknown): boolean =>
  error instanceof TrainyardError && error.code === 'StoreUnavailable';
