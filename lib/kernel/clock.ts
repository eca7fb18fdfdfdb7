/**
 * Time as a value: what waits or asks the time gets one of these, so that a simulation can drive it. The real one is `lib/service/system-clock.ts`.
 * `now` may jump (somebody sets the computer's time); waits follow the time that passes.
 */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Resolves after `ms`. */
  sleep(ms: number): Promise<void>;
  /** Resolves in the next turn of the event loop, after everything that is ready now. */
  turn(): Promise<void>;
  /** Calls once after `ms`, unless cancelled before. */
  after(ms: number, call: () => void): Timer;
  /** Calls every `ms`, first after `ms`, until cancelled. */
  every(ms: number, call: () => void): Timer;
}

export interface Timer {
  /** Idempotent; a call that was due but not made yet is not made any more. */
  cancel(): void;
}
