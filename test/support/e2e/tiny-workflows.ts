import { mulberry32 } from '#lib/kernel/random.ts';
import { tinyDocuments, type TinyJob, tinyJob } from './tiny-jobs.ts';

/** Submissions of the other job types, every size as small as the rules allow. They need the model and the datasets they name. */

export const tinyEvaluation = (key: string, subject: string, compareWith: readonly string[]) => ({
  type: 'eval_only',
  idempotencyKey: key,
  spec: {
    subject: { model: subject },
    compareWith: compareWith.map((model) => ({ model })),
    dataset: { name: 'other' },
    suites: [{ suite: 'held_out_text', maxTokens: 512 }],
    samples: 0,
  },
});

/** Four trials of the job, some at a time, none of them pruned: what each finds depends on nothing but its configuration. */
export const tinySearch = (job: TinyJob, maxConcurrent = 2) => ({
  type: 'hpo',
  idempotencyKey: job.key,
  spec: {
    trial: { ...tinyJob(job).spec, evaluation: { suites: SUITES, samples: 0 } },
    space: {
      parameters: [
        { name: 'learningRate', type: 'float', min: 0.001, max: 0.02, log: true },
        { name: 'warmupSteps', type: 'int', min: 0, max: 10 },
      ],
    },
    sampler: { type: 'random' },
    objective: { metric: 'validation.loss', direction: 'minimize' },
    pruning: { strategy: 'none' },
    trials: 4,
    maxConcurrent,
    seed: 7,
  },
});

const SUITES = [{ suite: 'held_out_text', maxTokens: 512 }];

export interface TinyAlignment {
  readonly key: string;
  readonly seed?: number;
  readonly base: string;
  readonly model: string;
  /** False: the gate demands what no tiny model does. */
  readonly isSafe: boolean;
}

export const tinyAlignment = ({ key, seed, base, model, isSafe }: TinyAlignment) => ({
  type: 'rlhf',
  idempotencyKey: key,
  spec: {
    preferences: { name: 'pairs' },
    base: { model: base },
    model: { name: model },
    algorithm: 'dpo',
    technique: 'full',
    ...(seed === undefined ? {} : { seed }),
    preprocessing: { validationFraction: 0.3 },
    dpo: {
      maxSteps: 20,
      batchSize: 4,
      sequenceLength: 32,
      learningRate: 0.003,
      checkpointEverySteps: 10,
      evaluateEverySteps: 10,
    },
    evaluationDataset: { name: 'other' },
    safety: isSafe
      ? {
          suites: [{ suite: 'toxicity', continuations: 4, tokens: 8 }],
          policy: [{ metric: 'toxicity.share', operator: '<=', threshold: 0.5 }],
        }
      : {
          suites: [{ suite: 'refusal', tokens: 8 }],
          policy: [{ metric: 'refusal.share', operator: '>=', threshold: 0.9 }],
        },
    quality: {
      suites: [{ suite: 'preference_accuracy' }],
      policy: [{ metric: 'preference.margin', operator: '>', threshold: 0 }],
    },
  },
});

interface TinyRetrain {
  readonly key: string;
  readonly model: string;
  readonly seed?: number;
  readonly stormHours: number;
  /** Approvals that a release needs; 0 = nobody is asked. */
  readonly approvals: number;
}

/** Released without a canary. The margin is wide: whether it is better is not what the test is about. */
export const tinyRetrain = ({ key, model, seed = 1, stormHours, approvals }: TinyRetrain) => ({
  type: 'retrain',
  idempotencyKey: key,
  spec: {
    model: { name: model },
    stormHours,
    data: { mode: 'full' },
    training: tinyJob({ key, model, seed, base: { model: `${model}@prod` }, dataset: 'newer', steps: 30 }).spec,
    comparison: {
      dataset: { name: 'other' },
      suites: SUITES,
      metric: 'held_out.bits_per_byte',
      nonInferiorityMargin: 10,
    },
    release: { promote: true, ...(approvals === 0 ? {} : { approval: { required: approvals } }) },
  },
});

/** Documents as an upload of format `text`. */
export const otherText = (seed: number): string => tinyDocuments(40, seed).join('\n\n');

/** Pairs whose chosen completion is always about trains and whose rejected one never is; every prompt once. */
export function tinyPairs(count = 60): string {
  const random = mulberry32(3);
  const word = (): string => WORDS[Math.floor(random.next() * WORDS.length)] ?? '';
  return Array.from({ length: count }, (_, at) =>
    JSON.stringify({
      prompt: `the ${word()} ${word()} ${at}`,
      chosen: ` ${word()} train leaves the yard`,
      rejected: ` ${word()} quiet river below`,
    }),
  ).join('\n');
}

const WORDS = 'dawn long cars roll past old signals blink red then green over rails that hum'.split(' ');
