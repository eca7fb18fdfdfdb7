import { type ActivityContext, YieldedError } from '#lib/worker/activity.ts';
import { plausibleOutput } from './flow-outputs.ts';

export type Run = (context: ActivityContext) => Promise<unknown>;

const STEPS = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];

/** A trainer that walks its curve when the test says so, reports each point, and stores a checkpoint before it stops. */
export class CurveTrainer {
  readonly resumedFrom = new Map<string, number[]>();
  readonly epochs: string[] = [];
  readonly #value: (rate: number, step: number) => number;
  #running = 0;
  readonly #gate: Promise<void>;

  constructor(value: (rate: number, step: number) => number, gate: Promise<void> = Promise.resolve()) {
    this.#value = value;
    this.#gate = gate;
  }

  get running(): number {
    return this.#running;
  }

  readonly run: Run = async (context) => {
    const { jobId, resume, signal, input } = context;
    this.epochs.push(`${context.workflowId}#${context.epoch}`);
    this.resumedFrom.set(jobId, [...(this.resumedFrom.get(jobId) ?? []), resume?.step ?? 0]);
    const { learningRate } = (input as { spec: { hyperparameters: { learningRate: number } } }).spec.hyperparameters;
    this.#running++;
    try {
      let last = resume?.step ?? 0;
      for (const step of STEPS.filter((each) => each > last)) {
        await aMoment(signal);
        if (signal.aborted) throw new YieldedError(last);
        last = step;
        context.progress({ step, stepsTotal: 100 });
        context.metrics([{ name: 'validation.loss', step, value: this.#value(learningRate, step) }]);
        context.checkpointSaved({ step, manifestKey: `checkpoints/${jobId}/${step}`, digest: 'a'.repeat(64) });
      }
      await Promise.race([this.#gate, aborted(signal)]);
      if (signal.aborted) throw new YieldedError(last);
      const loss = this.#value(learningRate, 100);
      return {
        ...(plausibleOutput('run_training', input) as object),
        metrics: { 'validation.loss': loss },
        steps: 100,
      };
    } finally {
      this.#running--;
    }
  };
}

/** Longer than a parent's report interval, so that points arrive one after the other. */
const aMoment = (signal: AbortSignal): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, 200);
  signal.addEventListener('abort', () => {
    clearTimeout(timer);
    resolve();
  });
  return promise;
};
const aborted = (signal: AbortSignal): Promise<void> => {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
};
