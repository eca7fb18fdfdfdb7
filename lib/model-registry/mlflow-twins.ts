import { TrainyardError } from '#lib/kernel/errors.ts';

/** Lost answers in a row after which the call gives up; its repetition goes on here. */
const MAX_TRIES = 3;

/**
 * For MLflow's two calls that make something new each time. Looks first; makes only what is not there; when the answer is lost, looks again,
 * since the call may have been carried out. Of several found ones the first is kept and the others are removed: a call that was lost on
 * its way can arrive after its repetition.
 */
export async function findOrMake<T>(steps: {
  find: () => Promise<readonly T[]>;
  make: () => Promise<T>;
  remove: (twin: T) => Promise<void>;
}): Promise<T> {
  for (let tries = 1; ; tries++) {
    const [kept, ...twins] = await steps.find();
    for (const twin of twins) await steps.remove(twin);
    if (kept !== undefined) return kept;
    try {
      return await steps.make();
    } catch (error) {
      const isLost = error instanceof TrainyardError && error.code === 'RegistryUnavailable';
      if (!isLost || tries === MAX_TRIES) throw error;
    }
  }
}
