import type { Activity, Job } from './api-answers.ts';
import type { JobSnapshot } from './job-progress.ts';
import type { JobRecord } from './job-record.ts';

/** Answers of the API as the gateway gives them, for tests of the pure parts. */
const START_MS = Date.parse('2026-11-24T04:00:00Z');
export const at = (seconds: number): string => new Date(START_MS + seconds * 1_000).toISOString();

export function job(change: Partial<Job> = {}): Job {
  return {
    id: 'job-1',
    type: 'fine_tune',
    status: 'RUNNING',
    step: 'training',
    spec: { method: 'full', model: { name: 'demo-base' } },
    result: null,
    error: null,
    laneSeconds: { useful: 45.5, lost: 0, waiting: 0.1 },
    submittedAt: at(0),
    startedAt: at(0.01),
    finishedAt: null,
    ...change,
  };
}

export function activity(name: string, lane: 'cpu' | 'gpu', change: Partial<Activity> = {}): Activity {
  return {
    name,
    lane,
    state: 'done',
    epoch: 1,
    failures: 0,
    workerId: `${lane}-host`,
    waitReason: null,
    progress: null,
    queuedAt: at(0),
    startedAt: at(0),
    endedAt: at(2),
    ...change,
  };
}

/** A job in the middle of its training, at `step` of 3,500 after `seconds`. */
export function trainingAt(seconds: number, step: number, change: Partial<Activity> = {}): JobSnapshot {
  const progress = {
    atMs: START_MS + seconds * 1_000,
    step,
    stepsTotal: 3_500,
    throughput: 45_100,
    device: { slot: 0, loss: 3.9812 },
  };
  const running = { state: 'running', queuedAt: at(2), startedAt: at(2), endedAt: null, progress, ...change };
  return {
    job: job(),
    activities: [
      activity('validate_dataset', 'cpu'),
      activity('preprocess_data', 'cpu'),
      activity('prepare_workspace', 'cpu'),
      activity('run_training', 'gpu', running),
    ],
    gpuLane: { lane: 'gpu', slots: 1, running: 1 },
    atMs: START_MS + seconds * 1_000,
  };
}

const metric = (name: string, value: number, more: object = {}) => ({
  name,
  value,
  standardError: null,
  higherIsBetter: false,
  count: 100,
  ...more,
});

/** A completed job of the demo. */
export function record(name: string, method: 'full' | 'lora', bitsPerByte: number, base?: number): JobRecord {
  const paired =
    base === undefined ? {} : { baselineValue: base, delta: bitsPerByte - base, deltaStandardError: 0.0096 };
  const result = {
    evaluation: {
      metrics: [
        metric('held_out.bits_per_byte', bitsPerByte, paired),
        metric('held_out.unigram_bits_per_byte', 2.831),
        metric('held_out.bigram_bits_per_byte', 1.784),
      ],
      gate: { passed: true, results: [] },
    },
    samples: [{ prompt: 'Call me', text: ' Ishmael\u001B[2J.' }],
    training: { 'model.parameters': 169_728, 'model.trainable_parameters': 16_384, 'train.tokens_per_second': 42_337 },
  };
  return {
    job: job({ id: `job-${name}`, status: 'COMPLETED', spec: { method, model: { name } }, result, finishedAt: at(52) }),
    activities: [],
    result,
    version: { name, version: 1, stage: 'dev', lineage: { jobId: `job-${name}`, datasetDigest: 'd'.repeat(64) } },
    files: [{ path: 'model.safetensors', bytes: 681_544, sha256: 'a'.repeat(64) }],
    curves: {
      title: name,
      train: [1, 2, 3].map((step) => ({ step: step * 100, value: 6 / step })),
      validation: [{ step: 300, value: 2.1 }],
    },
  };
}
