import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SftSpec } from '#lib/contracts/trainer-protocol.ts';
import { isErrorCode } from '#lib/kernel/error-catalogue.ts';
import { chainDocuments, writeDataset } from './test-support/dataset.ts';
import { messagesOf, onlyMessage, runInProcess, temporaryFolder } from './test-support/program.ts';
import { sftSpec, TINY } from './test-support/specs.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataDir: string;
/** A finished run: its output is a model folder, its checkpoints are good. */
let finished: SftSpec;

beforeAll(async () => {
  folder = await temporaryFolder();
  dataDir = join(folder.path, 'data');
  await writeDataset(dataDir, { train: chainDocuments(100, 2), validation: chainDocuments(10, 3) });
  finished = sftSpec(join(folder.path, 'finished'), dataDir, { hyperparameters: { checkpointEverySteps: 20 } });
  const result = await runInProcess(folder.path, finished);
  if (result.exitCode !== 0) throw new Error(JSON.stringify(result.messages.at(-1)));
});

afterAll(() => folder[Symbol.asyncDispose]());

describe('every failure has its exit code and its code', () => {
  type Case = [exitCode: number, code: string, prepare: (own: string) => unknown];
  const cases: Record<string, Case> = {
    'a spec that is not JSON': [78, 'TrainerBadConfig', () => '{'],
    'an unknown method': [78, 'TrainerBadConfig', (own) => ({ ...sftSpec(own, dataDir), method: 'magic' })],
    'a relative path': [78, 'TrainerBadConfig', (own) => ({ ...sftSpec(own, dataDir), dataDir: 'data' })],
    'an unknown field': [78, 'TrainerBadConfig', (own) => ({ ...sftSpec(own, dataDir), epochs: 3 })],
    'an adapter on random weights': [78, 'TrainerBadConfig', (own) => sftSpec(own, dataDir, { technique: 'lora' })],
    'a width that heads do not divide': [
      78,
      'EmbeddingNotDivisible',
      (own) => sftSpec(own, dataDir, { base: { kind: 'config', config: { ...TINY, heads: 5 } } }),
    ],
    'a sequence longer than the context': [
      78,
      'SequenceTooLong',
      (own) => sftSpec(own, dataDir, { hyperparameters: { sequenceLength: 33 } }),
    ],
    'a sequence longer than the context of a model folder': [
      78,
      'SequenceTooLong',
      (own) =>
        sftSpec(own, dataDir, {
          base: { kind: 'model', dir: finished.outputDir },
          hyperparameters: { sequenceLength: 33 },
        }),
    ],
    'a LoRA rank above the width': [
      78,
      'LoraRankTooLarge',
      (own) =>
        sftSpec(own, dataDir, {
          technique: 'lora',
          base: { kind: 'model', dir: finished.outputDir },
          lora: { r: 33, alpha: 16, dropout: 0, targetModules: ['c_attn'] },
        }),
    ],
    'no data folder': [65, 'TrainerDataMissing', (own) => sftSpec(own, join(own, 'nothing'))],
    'a missing shard': [65, 'TrainerDataMissing', (own) => copied(own, (dir) => rm(join(dir, 'train-00000.bin')))],
    'a changed shard': [
      65,
      'TrainerBadData',
      (own) => copied(own, (dir) => flipByte(join(dir, 'train-00000.bin'), 100)),
    ],
    'a shard path that leaves the folder': [
      65,
      'TrainerBadData',
      (own) => copied(own, (dir) => edit(join(dir, 'dataset.json'), 'train-00000.bin', '../train-00000.bin')),
    ],
    'data too short for one sequence': [
      65,
      'TrainerDataTooShort',
      async (own) => {
        const { dir } = await writeDataset(join(own, 'short'), { train: [{ text: 'a b' }], validation: [] });
        return sftSpec(own, dir);
      },
    ],
    'a base without weights': [
      65,
      'TrainerDataMissing',
      (own) => changedBase(own, (dir) => rm(join(dir, 'model.safetensors'))),
    ],
    'a base with another tokenizer': [
      65,
      'TrainerTokenizerMismatch',
      (own) => changedBase(own, (dir) => edit(join(dir, 'tokenizer.json'), '"version"', ' "version"')),
    ],
    'weights of other shapes than the configuration says': [
      65,
      'TrainerShapeMismatch',
      (own) => changedBase(own, (dir) => edit(join(dir, 'config.json'), '"n_positions": 32', '"n_positions": 64')),
    ],
    'a model of another kind': [
      65,
      'TrainerModelInvalid',
      (own) => changedBase(own, (dir) => edit(join(dir, 'config.json'), '"relu"', '"gelu_new"')),
    ],
    'cut-off weights': [
      65,
      'TrainerModelInvalid',
      (own) => changedBase(own, (dir) => truncate(join(dir, 'model.safetensors'), 5000)),
    ],
    'a loss that is not a number': [
      1,
      'NonFiniteLoss',
      (own) => sftSpec(own, dataDir, { hyperparameters: { initStd: 1e38 } }),
    ],
    'more memory than allowed': [
      1,
      'TrainerOutOfMemory',
      (own) => sftSpec(own, dataDir, { limits: { maxMemoryMib: 40, threads: 1 } }),
    ],
    'a model no machine holds': [
      1,
      'TrainerOutOfMemory',
      (own) =>
        sftSpec(own, dataDir, {
          base: { kind: 'config', config: { layers: 48, heads: 64, embeddingSize: 4096, contextLength: 4096 } },
          limits: { maxMemoryMib: 8000, threads: 1 },
        }),
    ],
    'a checkpoint with a changed byte': [
      1,
      'CheckpointDamaged',
      (own) => resumedFrom(own, (dir) => flipByte(join(dir, 'optimiser.safetensors'), 500)),
    ],
    'a checkpoint without its state': [
      1,
      'CheckpointDamaged',
      (own) => resumedFrom(own, (dir) => rm(join(dir, 'state.json'))),
    ],
    'a checkpoint of another configuration': [
      78,
      'CheckpointMismatch',
      (own) =>
        sftSpec(own, dataDir, {
          resumeFrom: join(finished.checkpointDir, 'step-00000020'),
          seed: 2,
          hyperparameters: { checkpointEverySteps: 20 },
        }),
    ],
  };

  test.each(Object.keys(cases))('%s', async (name) => {
    await using own = await temporaryFolder();
    const [exitCode, code, prepare] = cases[name] ?? [0, '', () => ({})];
    const run = await runInProcess(own.path, await prepare(own.path));
    const error = onlyMessage(run, 'error');
    expect({ exitCode: run.exitCode, code: error.code }).toEqual({ exitCode, code });
    expect(isErrorCode(error.code)).toBe(true);
    expect(error.retryable).toBe(code === 'CheckpointDamaged');
    expect(run.messages.at(-1)).toBe(error);
    expect(messagesOf(run, 'result')).toEqual([]);
  });

  test('a wrong field is named', async () => {
    await using own = await temporaryFolder();
    const spec = sftSpec(own.path, dataDir, { hyperparameters: { learningRate: -1, maxSteps: 0 } });
    const { message } = onlyMessage(await runInProcess(own.path, spec), 'error');
    expect(message).toContain('/hyperparameters/learningRate');
    expect(message).toContain('/hyperparameters/maxSteps');
  });
});

test('a good checkpoint of the same spec resumes (so the refusals above are about the damage)', async () => {
  await using own = await temporaryFolder();
  const run = await runInProcess(own.path, await resumedFrom(own.path, () => Promise.resolve()));
  expect(run.exitCode).toBe(0);
  expect(messagesOf(run, 'metric')[0]?.step).toBe(21);
});

/** A spec on a changed copy of the data. */
async function copied(own: string, change: (dir: string) => Promise<void>): Promise<SftSpec> {
  const dir = join(own, 'data');
  await cp(dataDir, dir, { recursive: true });
  await change(dir);
  return sftSpec(own, dir);
}

/** A spec on a changed copy of the trained model. */
async function changedBase(own: string, change: (dir: string) => Promise<void>): Promise<SftSpec> {
  const dir = join(own, 'base');
  await cp(finished.outputDir, dir, { recursive: true });
  await change(dir);
  return sftSpec(own, dataDir, { base: { kind: 'model', dir } });
}

/** A spec that resumes from a changed copy of a good checkpoint. */
async function resumedFrom(own: string, change: (dir: string) => Promise<void>): Promise<SftSpec> {
  const dir = join(own, 'checkpoint');
  await cp(join(finished.checkpointDir, 'step-00000020'), dir, { recursive: true });
  await change(dir);
  return sftSpec(own, dataDir, { resumeFrom: dir, hyperparameters: { checkpointEverySteps: 20 } });
}

async function flipByte(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

async function edit(path: string, from: string, to: string): Promise<void> {
  const text = await readFile(path, 'utf8');
  expect(text).toContain(from);
  await writeFile(path, text.replace(from, to));
}
