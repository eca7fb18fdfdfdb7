import { Value } from 'typebox/value';
import { invariant } from '#lib/kernel/errors.ts';
import { NEW_CORPUS } from './demo-jobs.ts';
import { LaneList } from './api-answers.ts';
import { HpoResult, TrialList } from './hpo-answers.ts';
import { type Run, runJob } from './run-job.ts';
import { sweepDisplay } from './sweep-display.ts';

/** Trials of a search, all of them asked for at once: the GPU lane lets as many run as it has slots. */
export const TRIALS = 16;
export const STEPS = 240;
/** Slots of the GPU lane: every trial runs at once, however few cores there are, and is compared with all the others as it goes. */
export const GPU_SLOTS = TRIALS;
/** Checks of a trial. */
const CHECKS = 24;
/** No trial is stopped before: learning rates that rise more slowly would be taken for bad ones. */
const FIRST_CHECK = 4;
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
  const everySteps = Math.max(1, Math.floor(steps / CHECKS));
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
        evaluateEverySteps: everySteps,
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
      ? { strategy: 'livePercentile', drop: 0.25, warmUpSteps: FIRST_CHECK * everySteps, everySteps }
      : { strategy: 'none' },
    trials: TRIALS,
    maxConcurrent: TRIALS,
    seed,
  };
}
