import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type CheckpointTensors, loadCheckpoint, type RunState, saveCheckpoint } from './checkpoint.ts';
import { temporaryFolder } from './test-support/program.ts';

const DIGEST = 'a'.repeat(64);

const tensors = (fill: number): CheckpointTensors => ({
  parameters: [{ name: 'w', shape: [2, 2], data: new Float32Array(4).fill(fill) }],
  firstMoment: new Float32Array(4).fill(fill + 1),
  secondMoment: new Float32Array(4).fill(fill + 2),
});

const run = (step: number): RunState => ({
  step,
  prngState: 4_294_967_295,
  dataPosition: { epoch: 3, cursor: 17 },
  curve: { sum: 0.1 + 0.2, count: 2, latest: 5.123456789012345 },
  configDigest: DIGEST,
});

test('a checkpoint restores every tensor and every digit of the state', async () => {
  await using folder = await temporaryFolder();
  const dir = await saveCheckpoint(folder.path, run(33), tensors(1));
  expect(dir).toBe(join(folder.path, 'step-00000033'));
  expect((await readdir(dir)).sort()).toEqual(['optimiser.safetensors', 'parameters.safetensors', 'state.json']);
  const restored = tensors(0);
  expect(await loadCheckpoint(dir, DIGEST, restored)).toEqual(run(33));
  expect(restored).toEqual(tensors(1));
});

test('writing a step again replaces it as a whole', async () => {
  await using folder = await temporaryFolder();
  await saveCheckpoint(folder.path, run(5), tensors(1));
  const dir = await saveCheckpoint(folder.path, run(5), tensors(2));
  const restored = tensors(0);
  await loadCheckpoint(dir, DIGEST, restored);
  expect(restored).toEqual(tensors(2));
});

test('a folder whose state was not written yet is not a checkpoint, and nothing is restored from it', async () => {
  await using folder = await temporaryFolder();
  const dir = await saveCheckpoint(folder.path, run(5), tensors(1));
  await rm(join(dir, 'state.json'));
  const untouched = tensors(0);
  await expect(loadCheckpoint(dir, DIGEST, untouched)).rejects.toMatchObject({ code: 'CheckpointDamaged' });
  expect(untouched).toEqual(tensors(0));
});

test('tensors of one checkpoint beside the state of another are refused', async () => {
  await using folder = await temporaryFolder();
  const other = await saveCheckpoint(join(folder.path), run(6), tensors(9));
  const dir = await saveCheckpoint(folder.path, run(5), tensors(1));
  await rm(join(dir, 'parameters.safetensors'));
  await rename(join(other, 'parameters.safetensors'), join(dir, 'parameters.safetensors'));
  const untouched = tensors(0);
  await expect(loadCheckpoint(dir, DIGEST, untouched)).rejects.toMatchObject({ code: 'CheckpointDamaged' });
  expect(untouched).toEqual(tensors(0));
});

test('another configuration is a mismatch, not damage', async () => {
  await using folder = await temporaryFolder();
  const dir = await saveCheckpoint(folder.path, run(5), tensors(1));
  const loading = loadCheckpoint(dir, 'b'.repeat(64), tensors(0));
  await expect(loading).rejects.toMatchObject({ code: 'CheckpointMismatch', retryable: false });
});
