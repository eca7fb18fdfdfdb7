import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Value } from '#typebox/value';
import { EvaluationReport, type EvaluateSpec, type EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { chainDocuments, writeDataset, type WrittenDataset } from '../test-support/dataset.ts';
import { messagesOf, onlyMessage, type ProgramResult, runInProcess, temporaryFolder } from '../test-support/program.ts';
import { sftSpec } from '../test-support/specs.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataset: WrittenDataset;
let modelDir: string;
let adapterDir: string;
/** Validation loss of the model with its adapter, as training measured it. */
let adapterLoss: number;
let modelLoss: number;

beforeAll(async () => {
  folder = await temporaryFolder();
  dataset = await writeDataset(join(folder.path, 'data'), {
    train: chainDocuments(200, 2),
    validation: chainDocuments(30, 3),
  });
  modelDir = join(folder.path, 'model');
  adapterDir = join(folder.path, 'adapter');
  const hyperparameters = { maxSteps: 80, validationTokens: 1_000_000 };
  const full = await trained(sftSpec(folder.path, dataset.dir, { outputDir: modelDir, hyperparameters }));
  modelLoss = full;
  adapterLoss = await trained(
    sftSpec(folder.path, dataset.dir, {
      technique: 'lora',
      base: { kind: 'model', dir: modelDir },
      outputDir: adapterDir,
      hyperparameters,
    }),
  );
});

afterAll(() => folder[Symbol.asyncDispose]());

const spec = (outputDir: string, overrides: Partial<EvaluateSpec> = {}): EvaluateSpec => ({
  protocol: 'trainyard-trainer/1',
  method: 'evaluate',
  model: { kind: 'model', dir: modelDir, adapterDir },
  baseline: { kind: 'model', dir: modelDir },
  dataDir: dataset.dir,
  outputDir,
  suites: [
    { suite: 'held_out_text', maxTokens: 0 },
    { suite: 'cloze', items: 'moby-dick', maxItems: 20 },
  ],
  samples: { count: 3, tokens: 12, temperature: 0.8 },
  seed: 1,
  limits: { maxMemoryMib: 0, threads: 1 },
  ...overrides,
});

describe('an evaluation of an adapter against its base', () => {
  let run: ProgramResult;
  let report: EvaluationReport;
  let outputDir: string;

  beforeAll(async () => {
    outputDir = join(folder.path, 'evaluation');
    run = await runInProcess(folder.path, spec(outputDir));
    report = Value.Parse(EvaluationReport, JSON.parse(await readFile(join(outputDir, 'report.json'), 'utf8')));
  });

  test('agrees with the validation losses that training measured', () => {
    expect(adapterLoss).toBeLessThan(modelLoss - 0.01);
    expect(metric(report, 'held_out.loss').value).toBeCloseTo(adapterLoss, 4);
    expect(metric(report, 'held_out.loss').baselineValue).toBeCloseTo(modelLoss, 4);
  });

  test('gives differences that are paired', () => {
    const loss = metric(report, 'held_out.loss');
    expect(loss.delta).toBeCloseTo(adapterLoss - modelLoss, 4);
    expect(loss.standardError).toBeGreaterThan(0);
    expect(loss.deltaStandardError).toBeGreaterThan(0);
    // Unpaired it would be at least the standard error of one of the two.
    expect(loss.deltaStandardError).toBeLessThan((loss.standardError ?? 0) / 2);
    expect(loss.count).toBe(Math.ceil((dataset.validation.length - 1) / 32));
  });

  test('has bits per byte of the text itself, comparable with what counting reaches', () => {
    const bytes = dataset.description.splits.validation.bytes;
    const nats = metric(report, 'held_out.loss').value * (dataset.validation.length - 1);
    const bitsPerByte = metric(report, 'held_out.bits_per_byte').value;
    // The first token is not predicted, so its few bytes are missing.
    expect(bitsPerByte / (nats / Math.LN2 / bytes)).toBeCloseTo(1, 2);
    const unigram = metric(report, 'held_out.unigram_bits_per_byte').value;
    const bigram = metric(report, 'held_out.bigram_bits_per_byte').value;
    expect(bigram).toBeLessThan(unigram);
    expect(bitsPerByte).toBeLessThan(unigram);
    expect(metric(report, 'held_out.perplexity').value).toBeCloseTo(Math.exp(adapterLoss), 2);
  });

  test('answers cloze questions', () => {
    const cloze = metric(report, 'cloze.moby-dick.accuracy');
    expect(cloze).toMatchObject({ count: 20, higherIsBetter: true });
    expect(cloze.value * 20).toBeCloseTo(Math.round(cloze.value * 20), 9);
    expect(cloze.delta).toBeCloseTo(cloze.value - (cloze.baselineValue ?? Number.NaN), 12);
  });

  test('keeps samples that continue held-out documents', async () => {
    expect(report.samples).toHaveLength(3);
    for (const [index, { prompt, text }] of report.samples.entries()) {
      expect(chainDocuments(30, 3)[index]?.text.startsWith(prompt)).toBe(true);
      expect(text.length).toBeGreaterThan(0);
    }
    expect(JSON.parse(await readFile(join(outputDir, 'samples.json'), 'utf8'))).toEqual(report.samples);
  });

  test('tells its progress and its result', () => {
    expect(run.exitCode).toBe(0);
    const result = onlyMessage(run, 'result');
    expect(result.files).toEqual(['report.json', 'samples.json']);
    expect(result.metrics['held_out.loss.delta']).toBe(metric(report, 'held_out.loss').delta);
    const last = messagesOf(run, 'step').at(-1);
    expect(last?.step).toBe(last?.stepsTotal);
    expect(result.steps).toBe(last?.stepsTotal);
  });

  test('is the same the second time', async () => {
    const again = join(folder.path, 'again');
    await runInProcess(folder.path, spec(again));
    expect(await readFile(join(again, 'report.json'), 'utf8')).toBe(
      await readFile(join(outputDir, 'report.json'), 'utf8'),
    );
  });
});

test('a model against itself differs by exactly nothing', async () => {
  const outputDir = join(folder.path, 'itself');
  await runInProcess(folder.path, spec(outputDir, { model: { kind: 'model', dir: modelDir } }));
  const report = Value.Parse(EvaluationReport, JSON.parse(await readFile(join(outputDir, 'report.json'), 'utf8')));
  expect(metric(report, 'held_out.loss')).toMatchObject({ delta: 0, deltaStandardError: 0 });
});

test('any number of models is compared in one run, each against the model on the same items', async () => {
  const outputDir = join(folder.path, 'many');
  const own = { kind: 'model', dir: modelDir, adapterDir } as const;
  const base = { kind: 'model', dir: modelDir } as const;
  const run = await runInProcess(folder.path, spec(outputDir, { comparisons: [own, base] }));
  const report = Value.Parse(EvaluationReport, JSON.parse(await readFile(join(outputDir, 'report.json'), 'utf8')));
  expect(report.comparisons).toHaveLength(2);
  // The first is the model itself, the second the baseline: what is known of both.
  for (const metric of report.comparisons?.[0]?.metrics ?? []) {
    if (metric.delta === undefined) continue;
    expect(metric).toMatchObject({ baselineValue: metric.value, delta: 0, deltaStandardError: 0 });
  }
  expect(report.comparisons?.[1]?.metrics).toEqual(report.metrics);
  const last = messagesOf(run, 'step').at(-1);
  expect(last?.step).toBe(last?.stepsTotal);
});

test('without a baseline the metrics have no difference, the comparisons do', async () => {
  const outputDir = join(folder.path, 'no-baseline');
  const { baseline, ...rest } = spec(outputDir);
  await runInProcess(folder.path, { ...rest, comparisons: [baseline] });
  const report = Value.Parse(EvaluationReport, JSON.parse(await readFile(join(outputDir, 'report.json'), 'utf8')));
  expect(metric(report, 'held_out.loss').delta).toBeUndefined();
  expect(report.comparisons?.[0]?.metrics.find(({ name }) => name === 'held_out.loss')?.delta).toBeLessThan(0);
});

test('a relative path among the comparisons is refused by its index', async () => {
  const own = { kind: 'model', dir: modelDir } as const;
  const comparisons = [own, { kind: 'model', dir: 'models/x' } as const];
  const run = await runInProcess(folder.path, spec(join(folder.path, 'relative'), { comparisons }));
  expect(run.exitCode).toBe(78);
  expect(onlyMessage(run, 'error').message).toContain('/comparisons/1/dir');
});

test('maxTokens scores the start of the split only', async () => {
  const outputDir = join(folder.path, 'short');
  const suites: EvaluateSpec['suites'] = [{ suite: 'held_out_text', maxTokens: 100 }];
  await runInProcess(folder.path, spec(outputDir, { suites }));
  const report = Value.Parse(EvaluationReport, JSON.parse(await readFile(join(outputDir, 'report.json'), 'utf8')));
  expect(metric(report, 'held_out.loss').count).toBe(4);
});

test('asked to stop, it ends with 75 and neither result nor checkpoint', async () => {
  let asked = 0;
  const run = await runInProcess(folder.path, spec(join(folder.path, 'stopped')), () => {
    asked += 1;
    return asked > 1;
  });
  expect(run.exitCode).toBe(75);
  expect(asked).toBe(2);
  expect(run.messages.every(({ type }) => type === 'step')).toBe(true);
});

test('a suite asked for twice is refused', async () => {
  const suites: EvaluateSpec['suites'] = [
    { suite: 'held_out_text', maxTokens: 1 },
    { suite: 'held_out_text', maxTokens: 0 },
  ];
  const run = await runInProcess(folder.path, spec(join(folder.path, 'twice'), { suites }));
  expect(run.exitCode).toBe(78);
  expect(onlyMessage(run, 'error').message).toContain('/suites/1');
});

test('an adapter made for another model is refused', async () => {
  const wide = join(folder.path, 'wide');
  const config = { layers: 1, heads: 2, embeddingSize: 48, contextLength: 32 };
  await trained(
    sftSpec(folder.path, dataset.dir, {
      base: { kind: 'config', config },
      outputDir: wide,
      hyperparameters: { maxSteps: 1 },
    }),
  );
  const run = await runInProcess(
    folder.path,
    spec(join(folder.path, 'x'), { model: { kind: 'model', dir: wide, adapterDir } }),
  );
  expect(run.exitCode).toBe(65);
  expect(onlyMessage(run, 'error').code).toBe('TrainerShapeMismatch');
});

async function trained(training: ReturnType<typeof sftSpec>): Promise<number> {
  const run = await runInProcess(folder.path, training);
  return onlyMessage(run, 'result').metrics['validation.loss'] ?? Number.NaN;
}

function metric(report: EvaluationReport, name: string): EvaluationMetric {
  const found = report.metrics.find((entry) => entry.name === name);
  if (found === undefined) throw new Error(`no metric ${name} among ${report.metrics.map((m) => m.name).join()}`);
  return found;
}
