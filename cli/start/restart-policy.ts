/** How soon a crashed process is started again: quickly at first, then slower, so that a process that cannot live does not eat a core. */
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 5_000;
/** Ready for this long, a process counts as healthy and its crash as the first one. */
export const HEALTHY_AFTER_MS = 30_000;

/** Crashes in a row after this crash of a process that was ready for `readyMs` (0: it never was). */
export function crashesInARow(before: number, readyMs: number, healthyAfterMs: number = HEALTHY_AFTER_MS): number {
  return readyMs >= healthyAfterMs ? 1 : before + 1;
}

/** Milliseconds to wait after the given number (>= 1) of crashes in a row: 250, 500, 1,000, ... 5,000. */
export function restartDelayMs(crashes: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** (crashes - 1), MAX_DELAY_MS);
}
