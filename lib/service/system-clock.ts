import type { Clock } from '#lib/kernel/clock.ts';

/** The time of this computer. Its timers keep the process alive until they are cancelled or over. */
export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return { cancel: () => clearTimeout(timer) };
  },
  every(ms, call) {
    const timer = setInterval(call, ms);
    return { cancel: () => clearInterval(timer) };
  },
};
