import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { FileObjectStore } from '#lib/object-store/file-store.ts';
import { CheckpointUploads } from './checkpoint-uploads.ts';
import { TrainingCurve } from './training-curve.ts';

let folder: string;
let store: FileObjectStore;
let curve: TrainingCurve;
let saved: number[];
let uploads: CheckpointUploads;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trainyard-uploads-'));
  store = new FileObjectStore({ root: join(folder, 'objects') });
  saved = [];
  const context = {
    jobId: 'job-1',
    activityId: 'run_training',
    epoch: 1,
    metrics: () => undefined,
    checkpointSaved: ({ step }: { step: number }) => saved.push(step),
  } as unknown as ActivityContext;
  curve = new TrainingCurve(context, join(folder, 'metrics.jsonl'));
  uploads = new CheckpointUploads({ store } as unknown as WorkerPlatform, context, curve);
});

afterEach(async () => {
  await curve.close();
  await rm(folder, { recursive: true, force: true });
});

async function checkpoint(step: number, validationLoss: number | null): Promise<void> {
  if (validationLoss !== null) curve.add({ name: 'validation.loss', step, value: validationLoss });
  curve.add({ name: 'train.loss', step, value: 0 });
  const dir = join(folder, `step-${step}`);
  await mkdir(dir);
  await writeFile(join(dir, 'weights.bin'), `weights of ${step}`);
  uploads.add({ step, dir });
  await uploads.settled();
}

async function stored(): Promise<number[]> {
  const steps = new Set<number>();
  for await (const { key } of store.list('')) steps.add(Number(/step-(\d+)\//.exec(key)?.[1]));
  return [...steps].sort((a, b) => a - b);
}

test('the two newest and the one with the lowest validation loss stay', async () => {
  for (const [step, loss] of [
    [10, 3],
    [20, 1],
    [30, 2],
    [40, 2.5],
    [50, 2.75],
  ] as const)
    await checkpoint(step, loss);
  expect(saved).toEqual([10, 20, 30, 40, 50]);
  expect(await stored()).toEqual([20, 40, 50]);
});

test('a checkpoint between two validations counts as good as the validation before it', async () => {
  await checkpoint(10, 1);
  await checkpoint(20, null);
  await checkpoint(30, 4);
  await checkpoint(40, 3);
  await checkpoint(50, 2);
  expect(await stored()).toEqual([20, 40, 50]);
});

test('without a validation the two newest stay', async () => {
  for (const step of [10, 20, 30]) await checkpoint(step, null);
  expect(await stored()).toEqual([20, 30]);
});
