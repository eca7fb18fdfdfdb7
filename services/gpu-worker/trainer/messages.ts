import { writeSync } from 'node:fs';
import type { TrainerMessage } from '#lib/contracts/trainer-protocol.ts';
import { systemCodeOf } from './failure.ts';

/** Where protocol lines go. */
export type Send = (message: TrainerMessage) => void;

const STDOUT = 1;
/** How long to wait for a reader that is behind before trying again. */
const RETRY_MS = 5;

/**
 * Prints one JSON line and returns when the system has taken it, so that nothing is lost when the process ends right after.
 * A closed pipe (the worker is gone) throws: an orphaned trainer must not run on.
 */
export const sendToStdout: Send = (message) => {
  let rest = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(STDOUT, rest));
    } catch (error) {
      if (systemCodeOf(error) !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
};
