import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chainDocuments, writeDataset } from './test-support/dataset.ts';
import { messagesOf, onlyMessage, runInProcess, runProgram, temporaryFolder } from './test-support/program.ts';
import { sftSpec, TINY } from './test-support/specs.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataDir: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  dataDir = join(folder.path, 'data');
  await writeDataset(dataDir, { train: chainDocuments(100, 2), validation: chainDocuments(10, 3) });
});

afterAll(() => folder[Symbol.asyncDispose]());

test('a finished run has told its progress and left what its result line names', async () => {
  await using own = await temporaryFolder();
  const spec = sftSpec(own.path, dataDir);
  const run = await runProgram(own.path, spec);
  expect(run.exitCode).toBe(0);
  const result = onlyMessage(run, 'result');
  expect(result.files).toEqual(['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']);
  expect((await readdir(spec.outputDir)).sort()).toEqual(result.files);
  expect(result.steps).toBe(40);
  const steps = messagesOf(run, 'step').map(({ step }) => step);
  expect(steps[0]).toBe(1);
  expect(steps.at(-1)).toBe(40);
  expect(
    messagesOf(run, 'metric')
      .filter(({ name }) => name === 'validation.loss')
      .map(({ step }) => step),
  ).toEqual([10, 20, 30, 40]);
  expect(run.messages.at(-1)).toBe(result);
});

test('SIGTERM saves a checkpoint and exits 75; the resumed run ends like one that never stopped', async () => {
  await using own = await temporaryFolder();
  const hyperparameters = { maxSteps: 300, evaluateEverySteps: 0 };
  const straight = sftSpec(join(own.path, 'straight'), dataDir, { hyperparameters });
  const whole = await runInProcess(own.path, straight);
  expect(whole.exitCode).toBe(0);

  const stopped = sftSpec(join(own.path, 'stopped'), dataDir, { hyperparameters });
  let sent = false;
  const first = await runProgram(own.path, stopped, (message, kill) => {
    if (message.type !== 'metric' || message.step < 10 || sent) return;
    sent = true;
    kill('SIGTERM');
  });
  expect(first.exitCode).toBe(75);
  const checkpoint = onlyMessage(first, 'checkpoint');
  expect(checkpoint.step).toBeGreaterThanOrEqual(10);
  expect(checkpoint.step).toBeLessThan(300);
  expect(first.messages.at(-1)).toBe(checkpoint);

  const second = await runInProcess(own.path, { ...stopped, resumeFrom: checkpoint.dir });
  expect(second.exitCode).toBe(0);
  expect([...messagesOf(first, 'metric'), ...messagesOf(second, 'metric')]).toEqual(messagesOf(whole, 'metric'));
  const [a, b] = [straight, stopped].map(({ outputDir }) => readFile(join(outputDir, 'model.safetensors')));
  expect((await a)?.equals((await b) ?? Buffer.alloc(0))).toBe(true);
});

test('SIGTERM right at the start still leaves a checkpoint to resume from', async () => {
  await using own = await temporaryFolder();
  const spec = sftSpec(own.path, dataDir, { hyperparameters: { maxSteps: 2000 } });
  const run = await runProgram(own.path, spec, (message, kill) => {
    if (message.type === 'log') kill('SIGTERM');
  });
  expect(run.exitCode).toBe(75);
  const checkpoint = onlyMessage(run, 'checkpoint');
  expect(existsSync(join(checkpoint.dir, 'state.json'))).toBe(true);
});

test('a trainer whose worker is gone ends by itself', async () => {
  await using own = await temporaryFolder();
  const spec = sftSpec(own.path, dataDir, { hyperparameters: { maxSteps: 10_000_000 } });
  const specPath = join(own.path, 'spec.json');
  await writeFile(specPath, JSON.stringify(spec));
  const main = fileURLToPath(new URL('main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, specPath], { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.once('data', () => child.stdout.destroy());
  const [exitCode] = (await once(child, 'exit')) as [number | null];
  expect(exitCode).toBe(1);
});

describe('a failed process says why and exits with the code of its kind', () => {
  test.each([
    [78, 'EmbeddingNotDivisible', { base: { kind: 'config', config: { ...TINY, heads: 5 } } }],
    [65, 'TrainerDataMissing', { dataDir: '/nowhere/at/all' }],
    [1, 'NonFiniteLoss', { hyperparameters: { initStd: 1e38 } }],
  ] as const)('%i %s', async (exitCode, code, overrides) => {
    await using own = await temporaryFolder();
    const run = await runProgram(own.path, sftSpec(own.path, dataDir, overrides));
    expect({ exitCode: run.exitCode, stderr: run.stderr }).toEqual({ exitCode, stderr: '' });
    expect(onlyMessage(run, 'error')).toMatchObject({ code, retryable: false });
  });

  // Only Linux has a file that is always full.
  test.skipIf(!existsSync('/dev/full'))('a full disk is retryable', async () => {
    await using own = await temporaryFolder();
    const spec = sftSpec(own.path, dataDir);
    await mkdir(spec.outputDir);
    await symlink('/dev/full', join(spec.outputDir, 'model.safetensors.tmp'));
    const run = await runProgram(own.path, spec);
    expect(run.exitCode).toBe(1);
    expect(onlyMessage(run, 'error')).toMatchObject({ code: 'DiskFull', retryable: true });
  });
});
