import type { TrainingHyperparameters } from '#lib/contracts/trainer-protocol.ts';
import { checkResidentMemory } from '../memory.ts';
import type { Send } from '../messages.ts';
import { StopRequested } from './objective.ts';
import { StepLines } from './progress.ts';
import type { TrainingRun } from './training-loop.ts';

/** How a program ended without failing. */
export type Outcome = 'done' | 'yielded';

export interface RunContext {
  readonly send: Send;
  /** True from the moment the program was asked to stop. */
  readonly stopRequested: () => boolean;
}

/** Metrics on held-out data by name; empty when there are none. */
export type Validate = () => Promise<Readonly<Record<string, number>>>;

export interface LoopSettings extends Pick<TrainingHyperparameters, 'checkpointEverySteps' | 'evaluateEverySteps'> {
  readonly maxSteps: number;
  readonly tokensPerStep: number;
  readonly maxMemoryMib: number;
}

/**
 * Steps until done (true), or until asked to stop (false, after a checkpoint). All lines of a step come before its checkpoint's.
 * The last step is not validated here: the caller does, and puts the figures into the result as well.
 */
export async function trainSteps(
  run: TrainingRun,
  settings: LoopSettings,
  validate: Validate,
  context: RunContext,
): Promise<boolean> {
  const { send, stopRequested } = context;
  const { maxSteps, checkpointEverySteps, evaluateEverySteps, tokensPerStep: tokens } = settings;
  const lines = new StepLines(send, maxSteps);
  try {
    while (run.step < maxSteps) {
      if (stopRequested()) throw new StopRequested();
      lines.begin();
      const { points, ...result } = await run.advance();
      const { step } = run;
      lines.end({ step, ...result, tokens });
      reportAll(send, step, points);
      if (evaluateEverySteps > 0 && step % evaluateEverySteps === 0 && step < maxSteps) {
        reportAll(send, step, await validate());
      }
      checkResidentMemory(settings.maxMemoryMib);
      // The last step gets a checkpoint too: a crash while the result is written must not cost the training.
      if (step % checkpointEverySteps === 0 || step === maxSteps) {
        send({ type: 'checkpoint', step, dir: await run.save() });
      }
    }
    return true;
  } catch (error) {
    if (!(error instanceof StopRequested)) throw error;
    send({ type: 'checkpoint', step: run.step, dir: await run.save() });
    return false;
  }
}

/** Prints a `metric` line for each value. */
export function reportAll(send: Send, step: number, metrics: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(metrics)) send({ type: 'metric', name, step, value });
}

export const withPrefix = (prefix: string, metrics: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`${prefix}${name}`, value]));
