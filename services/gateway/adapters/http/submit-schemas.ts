import { type TSchema, Type } from '#typebox';
import { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import type { JobType } from '#lib/contracts/jobs.ts';
import { SUBMISSION_MEMBERS } from '../../domain/submission.ts';

/** What a job of each type is asked for with, as the API document shows it. The domain parses the body itself: it names every wrong field. */
const submission = <T extends JobType>(type: T, example: Readonly<Record<string, unknown>>) =>
  Type.Object(
    { type: Type.Literal(type), ...SUBMISSION_MEMBERS, spec: JOB_SPECS[type] },
    { additionalProperties: false, examples: [{ type, ...example }] },
  );

const SPEECHES = {
  dataset: { name: 'speeches' },
  base: { model: 'demo-base@dev' },
  method: 'lora',
  model: { name: 'speeches-lora' },
  hyperparameters: { maxSteps: 300, learningRate: 0.004 },
  evaluation: {
    suites: [{ suite: 'held_out_text' }],
    policy: [{ metric: 'held_out.bits_per_byte', operator: '<', threshold: 0, relativeTo: 'base' }],
  },
};

export const SUBMISSIONS = {
  SubmitFineTune: submission('fine_tune', { idempotencyKey: 'speeches-2026-11', spec: SPEECHES }),
  SubmitHpo: submission('hpo', {
    idempotencyKey: 'speeches-search-2026-11',
    spec: {
      trial: SPEECHES,
      space: {
        parameters: [
          { name: 'learningRate', type: 'float', min: 0.0005, max: 0.05, log: true },
          { name: 'lora.r', type: 'int', min: 2, max: 16 },
        ],
      },
      sampler: { type: 'tpe' },
      objective: { metric: 'validation.loss', direction: 'minimize' },
      pruning: { strategy: 'livePercentile' },
      trials: 16,
      maxConcurrent: 4,
    },
  }),
  SubmitRetrain: submission('retrain', {
    idempotencyKey: 'speeches-retrain-2026-11',
    spec: {
      model: { name: 'speeches-lora' },
      training: SPEECHES,
      comparison: {
        dataset: { name: 'speeches-recent' },
        suites: [{ suite: 'held_out_text' }],
        metric: 'held_out.bits_per_byte',
      },
      release: { promote: true, approval: { required: 1 }, canary: { weightPercent: 10, maximumHours: 12 } },
    },
  }),
  SubmitRlhf: submission('rlhf', {
    idempotencyKey: 'speeches-aligned-2026-11',
    spec: {
      preferences: { name: 'speech-preferences' },
      base: { model: 'demo-base@prod' },
      model: { name: 'speeches-aligned' },
      algorithm: 'dpo',
      technique: 'lora',
      dpo: { maxSteps: 200, learningRate: 0.001, beta: 0.1 },
      evaluationDataset: { name: 'speeches' },
      safety: {
        suites: [{ suite: 'toxicity' }],
        policy: [{ metric: 'toxicity.share', operator: '<=', threshold: 0.02 }],
      },
      quality: {
        suites: [{ suite: 'preference_accuracy' }],
        policy: [{ metric: 'preference.accuracy', operator: '>', threshold: 0.5 }],
      },
    },
  }),
  SubmitEvalOnly: submission('eval_only', {
    idempotencyKey: 'speeches-report-2026-11',
    spec: {
      subject: { model: 'speeches-lora@prod' },
      compareWith: [{ model: 'demo-base@dev' }],
      dataset: { name: 'speeches-recent' },
      suites: [{ suite: 'held_out_text' }],
    },
  }),
};

/** Any of them, told apart by `type`. */
export const SUBMIT_JOB: TSchema = Type.Unsafe({
  oneOf: Object.keys(SUBMISSIONS).map((name) => ({ $ref: `${name}#` })),
});
