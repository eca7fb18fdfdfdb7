import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DpoSpec, LoraConfig } from '#lib/contracts/trainer-protocol.ts';
import { isErrorCode } from '#lib/kernel/error-catalogue.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import {
  type AlignmentWorld,
  alignmentWorld,
  dpoSpec,
  ppoSpec,
  rewardSpec,
  writePairs,
} from './test-support/alignment.ts';
import { messagesOf, onlyMessage, runInProcess, runProgram, temporaryFolder } from './test-support/program.ts';
import { TINY } from './test-support/specs.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let world: AlignmentWorld & { rewardModelDir: string };
/** A finished run with a checkpoint in the middle. */
let finished: DpoSpec;

beforeAll(async () => {
  folder = await temporaryFolder();
  const made = await alignmentWorld(folder.path);
  const reward = rewardSpec(join(folder.path, 'reward'), made, { hyperparameters: { maxSteps: 5 } });
  world = { ...made, rewardModelDir: reward.outputDir };
  finished = dpoSpec(join(folder.path, 'finished'), made, {
    hyperparameters: { maxSteps: 8, checkpointEverySteps: 4 },
  });
  for (const spec of [reward, finished]) {
    const run = await runInProcess(folder.path, spec);
    if (run.exitCode !== 0) throw new Error(JSON.stringify(run.messages.at(-1)));
  }
});

afterAll(() => folder[Symbol.asyncDispose]());

describe('every failure has its exit code and its code', () => {
  type Case = [exitCode: number, code: string, prepare: (own: string) => unknown];
  const lora = (change: Partial<LoraConfig>): LoraConfig => ({
    r: 4,
    alpha: 8,
    dropout: 0,
    targetModules: ['c_attn'],
    ...change,
  });
  const cases: Record<string, Case> = {
    'dpo with a reward model': [
      78,
      'TrainerBadConfig',
      (own) => ({ ...dpoSpec(own, world), rewardModelDir: world.rewardModelDir }),
    ],
    'ppo without a reward model': [
      78,
      'TrainerBadConfig',
      (own) => {
        const { rewardModelDir: _, ...spec } = ppoSpec(own, world);
        return spec;
      },
    ],
    'a relative reward model': [78, 'TrainerBadConfig', (own) => ppoSpec(own, world, { rewardModelDir: 'reward' })],
    'alignment of random weights': [
      78,
      'TrainerBadConfig',
      (own) => ({ ...dpoSpec(own, world), base: { kind: 'config', config: TINY } }),
    ],
    'a beta of 0': [78, 'TrainerBadConfig', (own) => dpoSpec(own, world, { hyperparameters: { beta: 0 } })],
    'an unknown setting': [
      78,
      'TrainerBadConfig',
      (own) => ({ ...dpoSpec(own, world), hyperparameters: { ...dpoSpec(own, world).hyperparameters, kl: 1 } }),
    ],
    'minibatches that do not divide a batch': [
      78,
      'TrainerBadConfig',
      (own) => ppoSpec(own, world, { hyperparameters: { batchSize: 16, numMiniBatches: 3 } }),
    ],
    'responses that leave no room for a prompt': [
      78,
      'TrainerBadConfig',
      (own) => ppoSpec(own, world, { hyperparameters: { responseLength: 24 } }),
    ],
    'dropout in ppo': [
      78,
      'TrainerBadConfig',
      (own) => ppoSpec(own, world, { technique: 'lora', lora: lora({ dropout: 0.1 }) }),
    ],
    'a sequence longer than the context': [
      78,
      'SequenceTooLong',
      (own) => rewardSpec(own, world, { hyperparameters: { sequenceLength: 33 } }),
    ],
    'a LoRA rank above the width': [
      78,
      'LoraRankTooLarge',
      (own) => dpoSpec(own, world, { technique: 'lora', lora: lora({ r: 33 }) }),
    ],
    'no data folder': [65, 'TrainerDataMissing', (own) => dpoSpec(own, world, { dataDir: join(own, 'nothing') })],
    'prompts instead of pairs': [65, 'TrainerBadData', (own) => dpoSpec(own, world, { dataDir: world.promptsDir })],
    'pairs instead of prompts': [65, 'TrainerBadData', (own) => ppoSpec(own, world, { dataDir: world.preferencesDir })],
    'tokens instead of pairs': [65, 'TrainerBadData', (own) => rewardSpec(own, world, { dataDir: world.dataset.dir })],
    'a changed shard': [
      65,
      'TrainerBadData',
      async (own) => {
        const dataDir = await copied(world.preferencesDir, join(own, 'pairs'));
        await flipByte(join(dataDir, 'train-00000.bin'));
        return dpoSpec(own, world, { dataDir });
      },
    ],
    'no training pair': [
      65,
      'TrainerDataTooShort',
      async (own) => {
        const dataDir = join(own, 'empty');
        await writePairs(dataDir, world.dataset, { train: 0, validation: 3, seed: 1 });
        return rewardSpec(own, world, { dataDir });
      },
    ],
    'a base with another tokenizer': [
      65,
      'TrainerTokenizerMismatch',
      async (own) => {
        const dir = await copied(world.baseDir, join(own, 'base'));
        await edit(join(dir, 'tokenizer.json'), '"version"', ' "version"');
        return dpoSpec(own, world, { base: { kind: 'model', dir } });
      },
    ],
    'a reward model without its head': [
      65,
      'TrainerDataMissing',
      async (own) => {
        const rewardModelDir = await copied(world.rewardModelDir, join(own, 'reward'));
        await rm(join(rewardModelDir, 'reward_head.safetensors'));
        return ppoSpec(own, world, { rewardModelDir });
      },
    ],
    'a model folder as reward model': [
      65,
      'TrainerDataMissing',
      (own) => ppoSpec(own, world, { rewardModelDir: world.baseDir }),
    ],
    'a reward model with an unknown pooling': [
      65,
      'TrainerModelInvalid',
      async (own) => {
        const rewardModelDir = await copied(world.rewardModelDir, join(own, 'reward'));
        await edit(join(rewardModelDir, 'reward_config.json'), '"mean"', '"median"');
        return ppoSpec(own, world, { rewardModelDir });
      },
    ],
    'a cut-off head': [
      65,
      'TrainerModelInvalid',
      async (own) => {
        const rewardModelDir = await copied(world.rewardModelDir, join(own, 'reward'));
        await truncate(join(rewardModelDir, 'reward_head.safetensors'), 100);
        return ppoSpec(own, world, { rewardModelDir });
      },
    ],
    'a reward model with another tokenizer': [
      65,
      'TrainerTokenizerMismatch',
      async (own) => {
        const rewardModelDir = await copied(world.rewardModelDir, join(own, 'reward'));
        await edit(join(rewardModelDir, 'tokenizer.json'), '"version"', ' "version"');
        return ppoSpec(own, world, { rewardModelDir });
      },
    ],
    'more memory than allowed': [
      1,
      'TrainerOutOfMemory',
      (own) => dpoSpec(own, world, { limits: { maxMemoryMib: 40, threads: 1 } }),
    ],
    'weights that grow beyond all numbers': [
      1,
      'NonFiniteLoss',
      (own) => dpoSpec(own, world, { hyperparameters: { weightDecay: 1e38 } }),
    ],
    'a checkpoint of another beta': [
      78,
      'CheckpointMismatch',
      (own) =>
        dpoSpec(own, world, {
          resumeFrom: join(finished.checkpointDir, 'step-00000004'),
          hyperparameters: { maxSteps: 8, beta: 0.2 },
        }),
    ],
    'a checkpoint of another method': [
      78,
      'CheckpointMismatch',
      (own) =>
        rewardSpec(own, world, {
          resumeFrom: join(finished.checkpointDir, 'step-00000004'),
          hyperparameters: { maxSteps: 8 },
        }),
    ],
    'a checkpoint whose reference was changed': [
      1,
      'CheckpointDamaged',
      async (own) => {
        const resumeFrom = await copied(join(finished.checkpointDir, 'step-00000004'), join(own, 'checkpoint'));
        await flipByte(join(resumeFrom, 'method.safetensors'));
        return dpoSpec(own, world, { resumeFrom, hyperparameters: { maxSteps: 8 } });
      },
    ],
    'a checkpoint without its reference': [
      1,
      'CheckpointDamaged',
      async (own) => {
        const resumeFrom = await copied(join(finished.checkpointDir, 'step-00000004'), join(own, 'checkpoint'));
        await rm(join(resumeFrom, 'method.safetensors'));
        return dpoSpec(own, world, { resumeFrom, hyperparameters: { maxSteps: 8 } });
      },
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
  });

  test('the good checkpoint resumes (so the refusals above are about the damage)', async () => {
    await using own = await temporaryFolder();
    const resumeFrom = await copied(join(finished.checkpointDir, 'step-00000004'), join(own.path, 'checkpoint'));
    const run = await runInProcess(
      own.path,
      dpoSpec(own.path, world, { resumeFrom, hyperparameters: { maxSteps: 8 } }),
    );
    expect(run.exitCode).toBe(0);
    expect(messagesOf(run, 'metric')[0]?.step).toBe(5);
  });

  test('pairs that do not fit are counted, not dropped in silence', async () => {
    await using own = await temporaryFolder();
    const run = await runInProcess(
      own.path,
      dpoSpec(own.path, world, { hyperparameters: { sequenceLength: 8, maxSteps: 1 } }),
    );
    expect(run.exitCode).toBe(0);
    expect(messagesOf(run, 'log').map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^\d+ of 120 training pairs are cut to sequenceLength = 8$/),
    );
  });
});

describe('SIGTERM at any time saves a checkpoint and exits 75; the resumed run ends like one that never stopped', () => {
  const seed = Date.now() % 100_000;
  const random = mulberry32(seed);
  const cases = {
    reward: (own: string) => rewardSpec(own, world, { hyperparameters: { maxSteps: 300, evaluateEverySteps: 0 } }),
    dpo: (own: string) => dpoSpec(own, world, { hyperparameters: { maxSteps: 200, evaluateEverySteps: 0 } }),
    ppo: (own: string) => ppoSpec(own, world, { hyperparameters: { rounds: 40, evaluateEverySteps: 0 } }),
  } as const;

  test.each(['reward', 'dpo', 'ppo'] as const)(`%s (seed ${seed})`, async (method) => {
    await using own = await temporaryFolder();
    const straight = cases[method](join(own.path, 'straight'));
    const whole = await runInProcess(own.path, straight);
    const points = messagesOf(whole, 'metric').length;
    expect(points).toBeGreaterThan(300);

    const stopped = cases[method](join(own.path, 'stopped'));
    let left = Math.floor((random.next() * points) / 2);
    const first = await runProgram(own.path, stopped, (message, kill) => {
      if (message.type !== 'metric') return;
      left -= 1;
      if (left === 0) kill('SIGTERM');
    });
    expect({ exitCode: first.exitCode, stderr: first.stderr }).toEqual({ exitCode: 75, stderr: '' });
    const checkpoint = onlyMessage(first, 'checkpoint');
    expect(first.messages.at(-1)).toBe(checkpoint);

    const second = await runInProcess(own.path, { ...stopped, resumeFrom: checkpoint.dir });
    expect(second.exitCode).toBe(0);
    expect([...messagesOf(first, 'metric'), ...messagesOf(second, 'metric')]).toEqual(messagesOf(whole, 'metric'));
    for (const file of onlyMessage(whole, 'result').files) {
      const expected = await readFile(join(straight.outputDir, file));
      expect(expected.equals(await readFile(join(stopped.outputDir, file)))).toBe(true);
    }
  });
});

async function copied(from: string, to: string): Promise<string> {
  await cp(from, to, { recursive: true });
  return to;
}

async function flipByte(path: string): Promise<void> {
  const bytes = await readFile(path);
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

async function edit(path: string, from: string, to: string): Promise<void> {
  const text = await readFile(path, 'utf8');
  expect(text).toContain(from);
  await writeFile(path, text.replace(from, to));
}
