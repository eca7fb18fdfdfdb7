import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, afterAll, describe, expect, test } from 'vitest';
import type { LoraConfig, SftSpec, TrainerMessage } from '#lib/contracts/trainer-protocol.ts';
import { ngramBaselines } from '#lib/text/ngram.ts';
import { openSafetensors } from '../formats/safetensors.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { chainDocuments, type Document, writeDataset, type WrittenDataset } from '../test-support/dataset.ts';
import { temporaryFolder } from '../test-support/program.ts';
import { sftSpec } from '../test-support/specs.ts';
import { runSft } from './sft.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataset: WrittenDataset;
/** A model trained for 100 steps: the base of the adapter tests. */
let baseDir: string;
let baseMessages: TrainerMessage[];

beforeAll(async () => {
  folder = await temporaryFolder();
  dataset = await writeDataset(join(folder.path, 'data'), {
    train: chainDocuments(300, 2),
    validation: chainDocuments(30, 3),
  });
  baseDir = join(folder.path, 'base');
  const spec = sftSpec(folder.path, dataset.dir, {
    outputDir: baseDir,
    hyperparameters: { maxSteps: 200, validationTokens: 1_000_000 },
  });
  baseMessages = await train(spec);
});

afterAll(() => folder[Symbol.asyncDispose]());

test('200 tiny steps beat word frequencies by half a nat a token on text never seen', () => {
  const { description, train, validation } = dataset;
  const bytes = description.splits.validation.bytes;
  const baselines = ngramBaselines(train, validation, bytes, description.tokenizer.vocabularySize);
  const unigramNats = (baselines.unigramBitsPerByte * Math.LN2 * bytes) / validation.length;
  const losses = metricValues(baseMessages, 'validation.loss');
  expect(unigramNats).toBeGreaterThan(3);
  expect(losses.at(-1)).toBeLessThan(unigramNats - 0.5);
  expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0);
});

test('the training curve has one point a step in a short run, and at most 200 in a long one', async () => {
  await using own = await temporaryFolder();
  const messages = await train(sftSpec(own.path, dataset.dir, { hyperparameters: { maxSteps: 301 } }));
  const steps = messages.flatMap((m) => (m.type === 'metric' && m.name === 'train.loss' ? [m.step] : []));
  expect(steps).toHaveLength(151);
  expect(steps.slice(0, 2)).toEqual([2, 4]);
  expect(steps.at(-1)).toBe(301);
  expect(metricValues(baseMessages, 'train.loss')).toHaveLength(200);
});

describe('a stopped and resumed run equals one that never stopped, bit for bit', () => {
  const lora: LoraConfig = { r: 4, alpha: 8, dropout: 0, targetModules: ['c_attn', 'c_proj', 'c_fc'] };
  const cases: Record<string, () => Partial<SftSpec>> = {
    full: () => ({ technique: 'full' }),
    lora: () => ({ technique: 'lora', base: { kind: 'model', dir: baseDir }, lora }),
    qlora: () => ({ technique: 'qlora', base: { kind: 'model', dir: baseDir }, lora }),
    'lora with dropout': () => ({
      technique: 'lora',
      base: { kind: 'model', dir: baseDir },
      lora: { ...lora, dropout: 0.2 },
    }),
  };
  test.each(Object.keys(cases))('%s', async (name) => {
    await using own = await temporaryFolder();
    const overrides = cases[name]?.() ?? {};
    // Steps per curve point > 1, so that an unfinished point must survive; epochs end within the run.
    const hyperparameters = { maxSteps: 230, evaluateEverySteps: 20, gradientAccumulationSteps: 2, batchSize: 4 };
    const straight = sftSpec(join(own.path, 'straight'), dataset.dir, { ...overrides, hyperparameters });
    const expected = await train(straight);

    const stopped = sftSpec(join(own.path, 'stopped'), dataset.dir, { ...overrides, hyperparameters });
    const first = await train(stopped, 33);
    const [checkpoint] = first.filter((message) => message.type === 'checkpoint');
    expect(checkpoint).toMatchObject({ step: 33 });
    expect(first.some(({ type }) => type === 'result')).toBe(false);
    const second = await train({ ...stopped, resumeFrom: checkpoint?.type === 'checkpoint' ? checkpoint.dir : '' });

    const curve = (messages: TrainerMessage[]): TrainerMessage[] => messages.filter(({ type }) => type === 'metric');
    expect(curve(expected).length).toBeGreaterThan(100);
    expect([...curve(first), ...curve(second)]).toEqual(curve(expected));
    const file = overrides.technique === 'full' ? 'model.safetensors' : 'adapter_model.safetensors';
    const result = await readFile(join(straight.outputDir, file));
    expect(result.equals(await readFile(join(stopped.outputDir, file)))).toBe(true);
  });

  test('and another seed gives another run', async () => {
    await using own = await temporaryFolder();
    const run = (seed: number): Promise<TrainerMessage[]> => train(sftSpec(own.path, dataset.dir, { seed }));
    const [a, again, other] = [await run(5), await run(5), await run(6)].map((m) => metricValues(m, 'train.loss'));
    expect(a).toEqual(again);
    expect(a).not.toEqual(other);
  });
});

test('a run killed after a checkpoint repeats its lines from there', async () => {
  await using own = await temporaryFolder();
  const spec = sftSpec(own.path, dataset.dir, { hyperparameters: { checkpointEverySteps: 15 } });
  const all = await train(spec);
  const resumed = await train({ ...spec, resumeFrom: join(spec.checkpointDir, 'step-00000015') });
  const after15 = all.filter((message) => message.type === 'metric' && message.step > 15);
  expect(after15.length).toBeGreaterThan(20);
  expect(resumed.filter(({ type }) => type === 'metric')).toEqual(after15);
});

test('a run resumed at its last step still writes its result', async () => {
  await using own = await temporaryFolder();
  const spec = sftSpec(own.path, dataset.dir);
  const expected = await train(spec);
  const resumed = await train({
    ...spec,
    outputDir: join(own.path, 'again'),
    resumeFrom: join(spec.checkpointDir, 'step-00000040'),
  });
  const metricsOf = (messages: TrainerMessage[]): unknown =>
    messages.flatMap((m) => (m.type === 'result' ? [{ ...m.metrics, 'train.tokens_per_second': 0 }] : []))[0];
  expect(metricsOf(resumed)).toBeDefined();
  expect(metricsOf(resumed)).toEqual(metricsOf(expected));
});

test('2 micro-batches of 4 train like one batch of 8', async () => {
  await using own = await temporaryFolder();
  const one = sftSpec(join(own.path, '1x8'), dataset.dir, { hyperparameters: { maxSteps: 5 } });
  const two = sftSpec(join(own.path, '2x4'), dataset.dir, {
    hyperparameters: { maxSteps: 5, batchSize: 4, gradientAccumulationSteps: 2 },
  });
  const [a, b] = [await train(one), await train(two)].map((messages) => metricValues(messages, 'train.loss'));
  expect(a).toHaveLength(5);
  a?.forEach((loss, step) => expect(b?.[step]).toBeCloseTo(loss, 4));
  const [weights, other] = [await readWeights(one.outputDir), await readWeights(two.outputDir)];
  const largest = weights.reduce((max, value, i) => Math.max(max, Math.abs(value - (other[i] ?? 0))), 0);
  expect(largest).toBeLessThan(2e-3);
});

test('with masked data only completions are learnt, and a completion can be learnt although its prompt is noise', async () => {
  await using own = await temporaryFolder();
  const random = mulberry32(8);
  const noise = (): string =>
    Array.from({ length: 12 }, () => 33 + Math.floor(random.next() * 90))
      .map((code) => String.fromCharCode(code))
      .join('');
  const documents = (masked: boolean): Document[] =>
    Array.from({ length: 120 }, () => {
      const prompt = noise();
      return { text: `${prompt}yes!`, ...(masked ? { completion: 'yes!' } : {}) };
    });
  const finalLoss = async (masked: boolean): Promise<number> => {
    const dir = join(own.path, `data-${masked}`);
    await writeDataset(dir, { train: documents(masked), validation: documents(masked).slice(0, 20) });
    const messages = await train(sftSpec(own.path, dir, { hyperparameters: { maxSteps: 60 } }));
    return metricValues(messages, 'validation.loss').at(-1) ?? Number.NaN;
  };
  expect(await finalLoss(true)).toBeLessThan(0.4);
  expect(await finalLoss(false)).toBeGreaterThan(1.5);
});

test('an adapter changes its own tensors only, and the base folder not at all', async () => {
  await using own = await temporaryFolder();
  const before = await readFile(join(baseDir, 'model.safetensors'));
  const spec = sftSpec(own.path, dataset.dir, { technique: 'qlora', base: { kind: 'model', dir: baseDir } });
  const messages = await train(spec);
  const result = messages.find((message) => message.type === 'result');
  expect(result).toMatchObject({
    files: ['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json', 'tokenizer_config.json'],
    // r = 8 on c_attn [32, 96], both c_proj [32, 32] [128, 32] and c_fc [32, 128].
    metrics: { 'model.trainable_parameters': 8 * (32 + 96 + 32 + 32 + 128 + 32 + 32 + 128) },
  });
  expect((await readFile(join(baseDir, 'model.safetensors'))).equals(before)).toBe(true);
  const config = JSON.parse(await readFile(join(spec.outputDir, 'adapter_config.json'), 'utf8'));
  expect(config).toMatchObject({ peft_type: 'LORA', r: 8, lora_alpha: 16, fan_in_fan_out: true });
});

/** Runs in this process; with `stopAfter` it is asked to stop when that step is done. */
async function train(spec: SftSpec, stopAfter?: number): Promise<TrainerMessage[]> {
  const messages: TrainerMessage[] = [];
  let steps = 0;
  await runSft(spec, {
    send: (message) => messages.push(message),
    // Asked once before every step.
    stopRequested: () => {
      steps += 1;
      return stopAfter !== undefined && steps > stopAfter;
    },
  });
  return messages;
}

const metricValues = (messages: readonly TrainerMessage[], name: string): number[] =>
  messages.flatMap((message) => (message.type === 'metric' && message.name === name ? [message.value] : []));

async function readWeights(dir: string): Promise<Float32Array> {
  const file = await openSafetensors(join(dir, 'model.safetensors'));
  const entry = file.entries.get('transformer.wte.weight');
  const into = new Float32Array((entry?.shape ?? []).reduce((product, size) => product * size, 1));
  await file.readInto('transformer.wte.weight', entry?.shape ?? [], into);
  await file.close();
  return into;
}
