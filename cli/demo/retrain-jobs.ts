import type { Submission } from './run-job.ts';

export const SERVED_MODEL = 'demo-speaker';
/** Speeches of an era as datasets. */
export const EARLY = { dataset: 'speeches-1830-1869', title: 'speeches of 1830 to 1869' } as const;
export const LATE = { dataset: 'speeches-1920-1949', title: 'speeches of 1920 to 1949, three of four pages' } as const;
export const COMPARED = { dataset: 'speeches-1920-1949-held', title: 'every fourth page of them' } as const;

export const FIRST_STEPS = 1_000;
const RETRAIN_STEPS = 500;
export const SCORE = 'held_out.bits_per_byte';

/** The first version, before anybody asks it. */
export const firstVersion = (maxSteps: number): Submission => ({
  type: 'fine_tune',
  spec: {
    dataset: { name: EARLY.dataset },
    base: { config: { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 } },
    method: 'full',
    model: { name: SERVED_MODEL },
    preprocessing: { vocabularySize: 1_024 },
    hyperparameters: training(maxSteps, 0.008),
    evaluation: { suites: [{ suite: 'held_out_text' }], samples: 0 },
  },
});

const training = (maxSteps: number, learningRate: number) => ({
  maxSteps,
  batchSize: 8,
  sequenceLength: 64,
  learningRate,
  checkpointEverySteps: maxSteps,
  evaluateEverySteps: Math.max(1, Math.floor(maxSteps / 5)),
});

/** Seconds instead of hours: a window has some hundred questions of the demo. */
const WINDOW_MS = 8_000;
const HOUR_MS = 3_600_000;

/** When the model is trained again, and how a better version gets into production. */
export const retrainPolicy = (firstSteps: number) => ({
  spec: {
    model: { name: SERVED_MODEL },
    stormHours: 6,
    data: { mode: 'full', minimumRows: 50 },
    training: {
      dataset: { name: LATE.dataset },
      base: { model: `${SERVED_MODEL}@prod` },
      method: 'full',
      model: { name: SERVED_MODEL },
      // A test asks for few steps of both.
      hyperparameters: training(Math.min(RETRAIN_STEPS, firstSteps), 0.002),
      evaluation: { suites: [{ suite: 'held_out_text' }], samples: 0 },
    },
    comparison: { dataset: { name: COMPARED.dataset }, suites: [{ suite: 'held_out_text' }], metric: SCORE },
    release: { promote: true, approval: { required: 1, expiresAfterHours: 1 }, canary },
  },
  drift: {
    windowMs: WINDOW_MS,
    latenessMs: 1_000,
    minimumObservations: 50,
    persistentWindows: 2,
    smallestDistance: 0.1,
    // One alarm is the demo; while its retrain runs, others are held back anyway.
    cooldownMs: HOUR_MS,
  },
});

/** Half of the people, until errors and slow answers are known well enough; an hour of real traffic would be the default. */
const canary = {
  weightPercent: 50,
  minimumHours: 10_000 / HOUR_MS,
  maximumHours: 120_000 / HOUR_MS,
  minimumSample: 100,
  metrics: [
    { name: 'error_rate', against: 'baseline', higherIsBetter: false, tolerance: 0.1 },
    { name: 'score', against: 'baseline', higherIsBetter: true, tolerance: 0.2 },
  ],
  onInconclusive: 'rollback',
};
