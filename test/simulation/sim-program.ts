import { type ActivityContext, ActivityError, mustAbandon, YieldedError } from '#lib/worker/activity.ts';
import type { Faults } from './faults.ts';
import type { Life } from './life.ts';
import type { Simulator } from './simulator.ts';

/** A worker kills a program that does not end when told, after at most this long. */
const KILLED_AFTER_MS = 6_000;

export interface ProgramWorld {
  readonly sim: Simulator;
  readonly faults: Faults;
}

/** How long one attempt takes and what goes wrong in it; drawn when it starts. */
interface Fate {
  readonly stepMs: number;
  readonly end: 'fails' | 'fails for good' | 'hangs' | 'hangs on' | null;
  /** Step at which the end comes. */
  readonly atStep: number;
}

/**
 * A program that takes simulated time: `steps` steps from `from`, with progress after each. It ends as a real one does: by itself, with a failure, by
 * yielding when asked, or by being killed.
 */
export async function runProgram(
  world: ProgramWorld,
  life: Life,
  context: ActivityContext,
  options: {
    readonly steps: number;
    readonly from?: number;
    readonly slowestStepMs: number;
    readonly afterStep?: (step: number) => Promise<void>;
    /** Asked to leave with its state stored, after this step; called when there is one to store. */
    readonly beforeYield?: (step: number) => Promise<void>;
  },
): Promise<void> {
  const { steps, from = 0, afterStep, beforeYield } = options;
  const fate = fateOf(world, steps, options.slowestStepMs);
  for (let step = from + 1; step <= steps; step++) {
    await pause(life, context.signal, fate.stepMs);
    if (context.signal.aborted) {
      if (!mustAbandon(context.signal) && step - 1 > from) await beforeYield?.(step - 1);
      leave(context.signal, step - 1);
    }
    if (fate.end !== null && step === fate.atStep) await meetFate(world, life, context, fate.end);
    context.progress({ step, stepsTotal: steps });
    context.metrics([{ name: 'loss', step, value: 1 / step }]);
    await afterStep?.(step);
  }
}

function fateOf({ sim, faults }: ProgramWorld, steps: number, slowestStepMs: number): Fate {
  const stepMs = sim.random.int(1, slowestStepMs);
  const atStep = sim.random.int(1, steps);
  const end = faults.strikes('attemptFailsForGood', 'non-retryable failure')
    ? 'fails for good'
    : faults.strikes('attemptFails', 'retryable failure')
      ? 'fails'
      : faults.strikes('attemptHangs', 'hang')
        ? sim.random.chance(0.5)
          ? 'hangs'
          : 'hangs on'
        : null;
  return { stepMs, end, atStep };
}

async function meetFate(
  { sim, faults }: ProgramWorld,
  life: Life,
  context: ActivityContext,
  end: NonNullable<Fate['end']>,
): Promise<void> {
  switch (end) {
    case 'fails':
      throw new ActivityError('TrainerFailed', 'the program failed', { retryable: true });
    case 'fails for good':
      throw new ActivityError('BadData', 'the data cannot be used', { retryable: false });
    case 'hangs on':
      // Told to end it does not listen; its worker kills it after a while.
      faults.count('hang that ignores its end');
      await aborted(context.signal);
      await life.clock.sleep(sim.random.int(1, KILLED_AFTER_MS));
      return leave(context.signal, 0);
    case 'hangs':
      await aborted(context.signal);
      return leave(context.signal, 0);
  }
}

/** Ends an attempt that was told to: with its state stored when there is time for that. */
function leave(signal: AbortSignal, step: number): never {
  if (mustAbandon(signal)) throw new ActivityError('Abandoned', String(signal.reason), { retryable: true });
  throw new YieldedError(step);
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Sleeps, or less when the attempt is told to end. */
export async function pause(life: Life, signal: AbortSignal, ms: number): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = life.clock.after(ms, resolve);
  const wake = (): void => resolve();
  signal.addEventListener('abort', wake, { once: true });
  await promise;
  signal.removeEventListener('abort', wake);
  timer.cancel();
}
