import { setTimeout as delay } from 'node:timers/promises';

const FIRST_MS = 50;
const LONGEST_MS = 2_000;

/** Waits before try `tries + 1` (`tries` from 1): 50 ms doubled up to 2 s, of which a random half to all, so that racers part. */
export async function backOff(tries: number, signal?: AbortSignal): Promise<void> {
  const fullMs = Math.min(FIRST_MS * 2 ** (tries - 1), LONGEST_MS);
  await delay(fullMs * (0.5 + Math.random() / 2), undefined, signal === undefined ? {} : { signal });
}
