import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DpoSpec, LoraConfig, PpoSpec, RewardSpec } from '#lib/contracts/trainer-protocol.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { type AlignmentWorld, alignmentWorld, dpoSpec, ppoSpec, rewardSpec } from '../test-support/alignment.ts';
import { messagesOf, onlyMessage, type ProgramResult, runInProcess, temporaryFolder } from '../test-support/program.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let world: AlignmentWorld & { rewardModelDir: string };
let reward: ProgramResult;

beforeAll(async () => {
  folder = await temporaryFolder();
  const made = await alignmentWorld(folder.path);
  const spec = rewardSpec(join(folder.path, 'reward'), made, { hyperparameters: { maxSteps: 60 } });
  reward = await runInProcess(folder.path, spec);
  world = { ...made, rewardModelDir: spec.outputDir };
});

afterAll(() => folder[Symbol.asyncDispose]());

const metric = (run: ProgramResult, name: string): number[] =>
  messagesOf(run, 'metric').flatMap((message) => (message.name === name ? [message.value] : []));

const metricNames = (run: ProgramResult): string[] =>
  [...new Set(messagesOf(run, 'metric').map(({ name }) => name))].sort();

describe('a reward model', () => {
  test('starts without an opinion and then orders held-out pairs far above chance', () => {
    expect(reward.exitCode).toBe(0);
    expect(metric(reward, 'train.loss')[0]).toBeCloseTo(Math.LN2, 6);
    expect(metric(reward, 'accuracy')[0]).toBe(0);
    const { metrics, files } = onlyMessage(reward, 'result');
    // 40 pairs: chance is 0.5 with a standard error of 0.08.
    expect(metrics['validation.accuracy']).toBeGreaterThan(0.9);
    expect(metrics['validation.margin']).toBeGreaterThan(1);
    expect(metrics['validation.loss']).toBeLessThan(0.5);
    expect(files).toContain('reward_head.safetensors');
    expect(metricNames(reward)).toEqual([
      'accuracy',
      'margin',
      'mean_reward',
      'train.loss',
      'validation.accuracy',
      'validation.loss',
      'validation.margin',
      'validation.mean_reward',
    ]);
  });

  test.each(['last', 'mean'] as const)(
    'learns with pooling %s and with adapters, which its folder has merged in',
    async (pooling) => {
      await using own = await temporaryFolder();
      const spec = rewardSpec(own.path, world, {
        technique: 'lora',
        pooling,
        hyperparameters: { maxSteps: 60, learningRate: 1e-2 },
      });
      const run = await runInProcess(own.path, spec);
      expect(onlyMessage(run, 'result').metrics['validation.accuracy']).toBeGreaterThan(0.8);
      expect(onlyMessage(run, 'result').files).toEqual([
        'config.json',
        'model.safetensors',
        'reward_config.json',
        'reward_head.safetensors',
        'tokenizer.json',
        'tokenizer_config.json',
      ]);
      expect(JSON.parse(await readFile(join(spec.outputDir, 'reward_config.json'), 'utf8'))).toMatchObject({ pooling });
    },
  );
});

describe('DPO', () => {
  test.each([1, 2, 3])(
    'starts at ln 2 with no margin, and raises accuracy and margin on pairs never seen (seed %i)',
    async (seed) => {
      await using own = await temporaryFolder();
      const spec = dpoSpec(own.path, world, { seed, hyperparameters: { maxSteps: 60, learningRate: 1e-3 } });
      const run = await runInProcess(own.path, spec);
      expect(metric(run, 'train.loss')[0]).toBeCloseTo(Math.LN2, 6);
      expect(metric(run, 'rewards/margins')[0]).toBeCloseTo(0, 6);
      const { metrics } = onlyMessage(run, 'result');
      expect(metrics['validation.rewards/accuracies']).toBeGreaterThan(0.9);
      expect(metrics['validation.rewards/margins']).toBeGreaterThan(0.5);
      const { 'validation.rewards/chosen': chosen, 'validation.rewards/rejected': rejected } = metrics;
      expect((chosen ?? 0) - (rejected ?? 0)).toBeCloseTo(metrics['validation.rewards/margins'] ?? Number.NaN, 9);
      expect(metricNames(run).filter((name) => !name.startsWith('validation.'))).toEqual([
        'logps/chosen',
        'logps/rejected',
        'rewards/accuracies',
        'rewards/chosen',
        'rewards/margins',
        'rewards/rejected',
        'train.loss',
      ]);
    },
  );

  test('a smaller beta moves further from the reference', async () => {
    await using own = await temporaryFolder();
    const at = async (beta: number): Promise<number> => {
      const spec = dpoSpec(join(own.path, `${beta}`), world, { hyperparameters: { beta, maxSteps: 20 } });
      const { metrics } = onlyMessage(await runInProcess(own.path, spec), 'result');
      return (metrics['validation.rewards/margins'] ?? Number.NaN) / beta;
    };
    expect(await at(0.05)).toBeGreaterThan(1.3 * (await at(2)));
  });

  test('asks the reference once about each training pair: a resumed run knows the answers', async () => {
    await using own = await temporaryFolder();
    const spec = dpoSpec(own.path, world, { hyperparameters: { maxSteps: 10, checkpointEverySteps: 4 } });
    const questions = async (resumeFrom?: string): Promise<number> => {
      let asked = 0;
      await runInProcess(own.path, { ...spec, ...(resumeFrom === undefined ? {} : { resumeFrom }) }, () => {
        asked += 1;
        return false;
      });
      return asked;
    };
    // Once after each batch of 8 of the 120 pairs, and once before each step.
    expect(await questions()).toBe(15 + 10);
    expect(await questions(join(spec.checkpointDir, 'step-00000004'))).toBe(6);
  });
});

test('DPO that is stopped again and again while the reference is asked gets on, in one and the same folder', async () => {
  await using own = await temporaryFolder();
  const spec = dpoSpec(own.path, world, { hyperparameters: { maxSteps: 1 } });
  let attempts = 0;
  let run: ProgramResult;
  do {
    let left = 2;
    const checkpoint = join(spec.checkpointDir, 'step-00000000');
    run = await runInProcess(own.path, attempts === 0 ? spec : { ...spec, resumeFrom: checkpoint }, () => {
      left -= 1;
      return left <= 0;
    });
    attempts += 1;
  } while (run.exitCode === 75 && attempts < 20);
  // 15 batches, two an attempt; the eighth attempt asks the last one and is stopped before the only step.
  expect({ attempts, exitCode: run.exitCode }).toEqual({ attempts: 9, exitCode: 0 });
});

describe('PPO', () => {
  test.each([1, 2, 3])(
    'raises the score of responses to held-out prompts and stays near the reference (seed %i)',
    async (seed) => {
      await using own = await temporaryFolder();
      const hyperparameters = { rounds: 12, numPpoEpochs: 4, evaluateEverySteps: 48, klCoef: 0.2 };
      const run = await runInProcess(own.path, ppoSpec(own.path, world, { seed, hyperparameters }));
      const scores = metric(run, 'validation.objective/scores');
      expect(scores).toHaveLength(3);
      expect(scores.at(-1)).toBeGreaterThan((scores[0] ?? Number.NaN) + 0.5);
      const kl = metric(run, 'validation.objective/kl');
      expect(kl[0]).toBeCloseTo(0, 4);
      // 8 tokens a response.
      expect(kl.at(-1)).toBeLessThan(8);
      expect(onlyMessage(run, 'result').steps).toBe(12 * 4 * 2);
      expect(onlyMessage(run, 'result').files).toContain('model.safetensors');
    },
  );

  test('begins each round with the ratio 1 and tells the metrics of TRL', async () => {
    await using own = await temporaryFolder();
    const hyperparameters = { rounds: 3, numPpoEpochs: 1, numMiniBatches: 1 };
    const run = await runInProcess(own.path, ppoSpec(own.path, world, { hyperparameters }));
    const ratios = metric(run, 'val/ratio');
    expect(ratios).toHaveLength(3);
    for (const ratio of ratios) expect(ratio).toBeCloseTo(1, 4);
    for (const moved of metric(run, 'policy/approxkl_avg')) expect(moved).toBeLessThan(1e-8);
    expect(metricNames(run).filter((name) => !name.startsWith('validation.'))).toEqual([
      'loss/policy_avg',
      'loss/value_avg',
      'objective/entropy',
      'objective/kl',
      'objective/non_score_reward',
      'objective/rlhf_reward',
      'objective/scores',
      'policy/approxkl_avg',
      'policy/clipfrac_avg',
      'train.loss',
      'val/clipfrac_avg',
      'val/num_eos_tokens',
      'val/ratio',
    ]);
  });

  test('a large KL penalty keeps it nearer to the reference', async () => {
    await using own = await temporaryFolder();
    const at = async (klCoef: number): Promise<number> => {
      const hyperparameters = { rounds: 8, klCoef, learningRate: 1e-2, evaluateEverySteps: 0 };
      const run = await runInProcess(own.path, ppoSpec(join(own.path, `${klCoef}`), world, { hyperparameters }));
      return onlyMessage(run, 'result').metrics['validation.objective/kl'] ?? Number.NaN;
    };
    expect(await at(1)).toBeLessThan((await at(0)) / 2);
  });
});

describe('a stopped and resumed run equals one that never stopped, bit for bit', () => {
  const lora: LoraConfig = { r: 4, alpha: 8, dropout: 0, targetModules: ['c_attn', 'c_proj', 'c_fc'] };
  const dropout = { ...lora, dropout: 0.2 };
  type Make = (own: string) => RewardSpec | DpoSpec | PpoSpec;
  const micro = { gradientAccumulationSteps: 2, batchSize: 4 };
  const cases: Record<string, Make> = {
    'reward, full': (own) => rewardSpec(own, world),
    'reward, lora with dropout': (own) =>
      rewardSpec(own, world, { technique: 'lora', lora: dropout, hyperparameters: micro }),
    'dpo, full': (own) => dpoSpec(own, world, { hyperparameters: micro }),
    'dpo, lora with dropout': (own) => dpoSpec(own, world, { technique: 'lora', lora: dropout }),
    'dpo, qlora': (own) => dpoSpec(own, world, { technique: 'qlora', lora }),
    'ppo, full': (own) => ppoSpec(own, world),
    'ppo, lora': (own) => ppoSpec(own, world, { technique: 'lora', lora }),
    'ppo, qlora': (own) => ppoSpec(own, world, { technique: 'qlora', lora }),
  };
  const seed = Date.now() % 100_000;
  const random = mulberry32(seed);

  test.each(Object.keys(cases))(`%s (seed ${seed})`, async (name) => {
    await using own = await temporaryFolder();
    const make = cases[name] ?? ((dir: string) => rewardSpec(dir, world));
    let asked = 0;
    const straight = make(join(own.path, 'straight'));
    const whole = await runInProcess(own.path, straight, () => {
      asked += 1;
      return false;
    });
    expect(whole.exitCode).toBe(0);

    // Stopped anywhere, several times: before a step, while the reference is asked, or between two tokens of a rollout.
    const stopped = make(join(own.path, 'stopped'));
    const lines: unknown[] = [];
    let resumeFrom: string | undefined;
    let attempt: ProgramResult;
    do {
      let left = 1 + Math.floor((random.next() * asked) / 2);
      attempt = await runInProcess(
        own.path,
        { ...stopped, ...(resumeFrom === undefined ? {} : { resumeFrom }) },
        () => {
          left -= 1;
          return left <= 0;
        },
      );
      lines.push(...messagesOf(attempt, 'metric'));
      if (attempt.exitCode === 75) resumeFrom = messagesOf(attempt, 'checkpoint').at(-1)?.dir;
    } while (attempt.exitCode === 75);
    expect(attempt.exitCode).toBe(0);

    // What was printed again was printed with the same values.
    const keyed = (messages: unknown[]): Map<string, string> =>
      new Map(
        messages.map((message) => {
          const { name, step, value } = message as { name: string; step: number; value: number };
          return [`${step} ${name}`, JSON.stringify(value)];
        }),
      );
    expect(new Set(lines.map((line) => JSON.stringify(line))).size).toBe(keyed(lines).size);
    expect(keyed(lines)).toEqual(keyed(messagesOf(whole, 'metric')));
    for (const file of onlyMessage(whole, 'result').files) {
      const expected = await readFile(join(straight.outputDir, file));
      expect(expected.equals(await readFile(join(stopped.outputDir, file)))).toBe(true);
    }
  });

  test.each(['reward, full', 'dpo, full', 'ppo, full'])(
    '%s: equal seeds give equal runs, other seeds other ones',
    async (name) => {
      await using own = await temporaryFolder();
      const curve = async (part: string, seed: number): Promise<number[]> => {
        const make = cases[name] ?? ((dir: string) => rewardSpec(dir, world));
        const spec = { ...make(join(own.path, part)), seed };
        return metric(await runInProcess(own.path, spec), 'train.loss');
      };
      const first = await curve('a', 5);
      expect(first.length).toBeGreaterThan(3);
      expect(await curve('b', 5)).toEqual(first);
      expect(await curve('c', 6)).not.toEqual(first);
    },
  );
});

test('a policy is written without its value head, so that it loads as any model', async () => {
  await using own = await temporaryFolder();
  const spec = ppoSpec(own.path, world, { hyperparameters: { rounds: 1 } });
  await runInProcess(own.path, spec);
  const again = dpoSpec(join(own.path, 'dpo'), world, {
    base: { kind: 'model', dir: spec.outputDir },
    hyperparameters: { maxSteps: 1 },
  });
  expect((await runInProcess(own.path, again)).exitCode).toBe(0);
  expect((await readFile(join(spec.outputDir, 'model.safetensors'))).includes('v_head')).toBe(false);
});
