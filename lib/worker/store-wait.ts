import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import { type Activity, YieldedError } from './activity.ts';
import { FIRST_PAUSE_MS, LONGEST_PAUSE_MS, pauses, type WaitClock } from './patience.ts';

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
        const firstPauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (epoch - 1));
        for await (const _ of pauses(firstPauseMs, { clock: platform.clock, signal: context.signal }))
          if (await serves(platform.store)) break;
        throw new YieldedError(null, 'StoreUnavailable');
      }
    },
  };
}

async function serves(store: Pick<ObjectStore, 'check'>): Promise<boolean> {
  try {
    await store.check();
    return true;
  } catch (error) {
    if (!isStoreUnavailable(error)) throw error;
    return false;
  }
}

const isStoreUnavailable = (error: unknown): boolean =>
  error instanceof TrainyardError && error.code === 'StoreUnavailable';
