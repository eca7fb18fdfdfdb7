import { Value } from '#typebox/value';
import { invariant } from '#lib/kernel/errors.ts';
import { NEW_CORPUS } from './demo-jobs.ts';
import { LaneList } from './api-answers.ts';
import { HpoResult, TrialList } from './hpo-answers.ts';
import { type Run, runJob } from './run-job.ts';
import { sweepDisplay } from './sweep-display.ts';

/**
 * Trials of a search. The GPU lane of the demo has a slot for each: all of them run at once, however few cores there are, and each is compared with
 * all the others as it goes.
 */
export const TRIALS = 16;
export const STEPS = 320;
/** Validations of a trial. */
const VALIDATIONS = 32;
/** Validations before the first check: learning rates that rise more slowly would be taken for bad ones. */
const WARM_UP = 4;
/**
 * The worse half of those that came to a check before, every second validation. The default (a quarter) is for searches of many more trials: of
 * these 16 it saved 19, 46 and 58 % (seeds 1 to 3, trials of 240 steps), because whoever comes first to a check has nobody to be compared
 * with; a half saves 61, 50 and 55 % and keeps the best configuration of each (2026-11-26, on a busy machine).
 */
const PRUNING = { strategy: 'livePercentile', drop: 0.5 } as const;
const CHECK_EVERY = 2;
export const SEARCHED_MODEL = 'demo-search';

/** A search: its job, and what it answered. */
export interface Sweep {
  readonly jobId: string;
  readonly result: HpoResult;
  readonly wallSeconds: number;
}

interface SweepOptions {
  readonly seed: number;
  readonly pruned: boolean;
  readonly steps: number;
  readonly heading: string;
}

/** Runs one search to its end. The configurations follow from the seed alone, so that searches with and without pruning try the same ones. */
export async function runSweep(run: Run, options: SweepOptions): Promise<Sweep> {
  const { client } = run.scene;
  const { job, wallSeconds } = await runJob(
    run,
    { type: 'hpo', spec: sweepSpec(options) },
    { title: `${TRIALS} trials of ${options.steps} steps`, heading: options.heading },
    {
      watch: (submitted) => async (job) => {
        const { items } = await client.call(TrialList, `/v1/jobs/${submitted.id}/trials`);
        const { items: lanes } = await client.call(LaneList, '/v1/lanes');
        const trials = items.toSorted((a, b) => a.number - b.number);
        const gpuLane = lanes.find(({ lane }) => lane === 'gpu') ?? null;
        return sweepDisplay({ heading: options.heading, job, trials, planned: TRIALS, gpuLane, atMs: Date.now() });
      },
    },
  );
  invariant(Value.Check(HpoResult, job.result), 'a search answers what it found');
  return { jobId: job.id, result: job.result, wallSeconds };
}

function sweepSpec({ seed, pruned, steps }: SweepOptions) {
  const evaluateEverySteps = Math.max(1, Math.floor(steps / VALIDATIONS));
  return {
    trial: {
      dataset: { name: NEW_CORPUS.dataset },
      base: { config: { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 } },
      method: 'full',
      model: { name: SEARCHED_MODEL },
      preprocessing: { vocabularySize: 1_024 },
      hyperparameters: {
        maxSteps: steps,
        batchSize: 8,
        sequenceLength: 64,
        learningRate: 0.004,
        checkpointEverySteps: steps,
        evaluateEverySteps,
        validationTokens: 4_096,
      },
      evaluation: { suites: [{ suite: 'held_out_text' }], samples: 0 },
    },
    space: {
      parameters: [
        { name: 'learningRate', type: 'float', min: 0.0003, max: 0.05, log: true },
        { name: 'warmupSteps', type: 'int', min: 0, max: Math.max(1, Math.floor(steps / 8)) },
        { name: 'weightDecay', type: 'float', min: 0, max: 0.3 },
      ],
    },
    sampler: { type: 'random' },
    objective: { metric: 'validation.loss', direction: 'minimize' },
    pruning: pruned
      ? { ...PRUNING, warmUpSteps: WARM_UP * evaluateEverySteps, everySteps: CHECK_EVERY * evaluateEverySteps }
      : { strategy: 'none' },
    trials: TRIALS,
    maxConcurrent: TRIALS,
    seed,
  };
}
