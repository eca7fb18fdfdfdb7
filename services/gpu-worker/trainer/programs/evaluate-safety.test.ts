import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Value } from '#typebox/value';
import { EvaluationReport, type EvaluateSpec, type EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { loadLexicon } from '../eval/toxicity.ts';
import { type AlignmentWorld, alignmentWorld, dpoSpec, writePairs } from '../test-support/alignment.ts';
import { chainDocuments, writeDataset } from '../test-support/dataset.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { onlyMessage, type ProgramResult, runInProcess, temporaryFolder } from '../test-support/program.ts';
import { sftSpec } from '../test-support/specs.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let world: AlignmentWorld;

beforeAll(async () => {
  folder = await temporaryFolder();
  world = await alignmentWorld(folder.path);
});

afterAll(() => folder[Symbol.asyncDispose]());

const evaluateSpec = (outputDir: string, overrides: Partial<EvaluateSpec>): EvaluateSpec => ({
  protocol: 'trainyard-trainer/1',
  method: 'evaluate',
  model: { kind: 'model', dir: world.baseDir },
  dataDir: world.dataset.dir,
  outputDir,
  suites: [],
  samples: { count: 0, tokens: 1, temperature: 1 },
  seed: 1,
  limits: { maxMemoryMib: 0, threads: 1 },
  ...overrides,
});

async function report(spec: EvaluateSpec): Promise<EvaluationReport> {
  const run = await runInProcess(folder.path, spec);
  if (run.exitCode !== 0) throw new Error(JSON.stringify(run.messages.at(-1)));
  return Value.Parse(EvaluationReport, JSON.parse(await readFile(join(spec.outputDir, 'report.json'), 'utf8')));
}

function metric({ metrics }: EvaluationReport, name: string): EvaluationMetric {
  const found = metrics.find((item) => item.name === name);
  if (found === undefined) throw new Error(`no metric ${name}`);
  return found;
}

const toxicity = { suite: 'toxicity', continuations: 30, tokens: 12, temperature: 1, minimumRating: 2 } as const;

test('every safety metric has a direction, a count and a standard error, and the report is the same the second time', async () => {
  const suites: EvaluateSpec['suites'] = [toxicity, { suite: 'bias' }, { suite: 'refusal', tokens: 8 }];
  const spec = evaluateSpec(join(folder.path, 'all'), { suites, baseline: { kind: 'model', dir: world.baseDir } });
  const first = await report(spec);
  expect(first.metrics.map(({ name, count, higherIsBetter }) => [name, count, higherIsBetter])).toEqual([
    ['toxicity.share', 30, false],
    ['bias.men_women.absolute_difference', 24, false],
    ['bias.white_black.absolute_difference', 24, false],
    ['bias.citizens_foreigners.absolute_difference', 24, false],
    ['bias.rich_poor.absolute_difference', 24, false],
    ['bias.christians_jews.absolute_difference', 24, false],
    ['bias.young_old.absolute_difference', 24, false],
    ['bias.mean_absolute_difference', 24, false],
    ['refusal.share', 24, true],
  ]);
  for (const item of first.metrics) {
    expect(item.value).toBeGreaterThanOrEqual(0);
    expect(item.standardError).not.toBeNull();
    expect(item).toMatchObject({ delta: 0, deltaStandardError: 0 });
  }
  // Chains of syllables know no listed words and no refusals.
  expect(metric(first, 'toxicity.share').value).toBe(0);
  expect(metric(first, 'refusal.share').value).toBe(0);
  expect(metric(first, 'bias.men_women.absolute_difference').value).toBeGreaterThan(0);
  expect(await report({ ...spec, outputDir: join(folder.path, 'again') })).toEqual(first);
});

test('preferences that reward listed words raise toxicity far enough that a threshold fails', async () => {
  const own = join(folder.path, 'toxic');
  const listed = Object.entries(await loadLexicon())
    .filter(([word, rating]) => rating === 2 && word.length <= 4)
    .map(([word]) => word)
    .slice(0, 4);
  // A base that has seen the words now and then: DPO shifts what a model can already say.
  const random = mulberry32(3);
  const spoilt = (seed: number, count: number): { text: string }[] =>
    chainDocuments(count, seed).map(({ text }) => ({
      text: text.replace(/[a-z]+/g, (word) =>
        random.next() < 0.08 ? (listed[Math.floor(random.next() * listed.length)] ?? word) : word,
      ),
    }));
  const data = await writeDataset(join(own, 'data'), { train: spoilt(2, 300), validation: chainDocuments(60, 3) });
  const baseDir = join(own, 'base');
  const hyperparameters = { maxSteps: 250, evaluateEverySteps: 0 };
  const base = await runInProcess(folder.path, sftSpec(own, data.dir, { outputDir: baseDir, hyperparameters }));
  expect(base.exitCode).toBe(0);
  const preferencesDir = join(own, 'preferences');
  await writePairs(preferencesDir, world.dataset, { train: 120, validation: 30, seed: 4 }, (chosen, pick) =>
    chosen ? pick(listed) : undefined,
  );
  const dpo = dpoSpec(
    own,
    { ...world, baseDir },
    {
      dataDir: preferencesDir,
      hyperparameters: { maxSteps: 60, learningRate: 1e-3 },
    },
  );
  expect((await runInProcess(folder.path, dpo)).exitCode).toBe(0);
  const spec = evaluateSpec(join(own, 'report'), {
    model: { kind: 'model', dir: dpo.outputDir },
    baseline: { kind: 'model', dir: baseDir },
    dataDir: data.dir,
    preferenceDataDir: preferencesDir,
    suites: [
      { ...toxicity, continuations: 60 },
      { suite: 'preference_accuracy', maxPairs: 0, beta: 0.1 },
    ],
  });
  const found = await report(spec);
  const share = metric(found, 'toxicity.share');
  expect(share.count).toBe(60);
  const threshold = 0.5;
  expect(share.baselineValue).toBeLessThan(threshold);
  expect(share.value).toBeGreaterThan(threshold);
  expect(share.delta).toBeGreaterThan(4 * (share.deltaStandardError ?? Number.NaN));
  const accuracy = metric(found, 'preference.accuracy');
  expect(accuracy).toMatchObject({ count: 30, higherIsBetter: true });
  expect(accuracy.value).toBeGreaterThan(0.9);
  expect(metric(found, 'preference.margin').value).toBeGreaterThan(0);
});

test('a model against itself prefers nothing', async () => {
  const spec = evaluateSpec(join(folder.path, 'itself'), {
    baseline: { kind: 'model', dir: world.baseDir },
    preferenceDataDir: world.preferencesDir,
    suites: [{ suite: 'preference_accuracy', maxPairs: 10, beta: 0.1 }],
  });
  const found = await report(spec);
  expect(metric(found, 'preference.accuracy')).toMatchObject({ value: 0.5, count: 10, standardError: 0 });
  expect(metric(found, 'preference.margin')).toMatchObject({ value: 0, standardError: 0 });
});

test('the suite and the validation of DPO agree about the same pairs', async () => {
  const dpo = dpoSpec(join(folder.path, 'dpo'), world);
  const { metrics } = onlyMessage(await runInProcess(folder.path, dpo), 'result');
  const spec = evaluateSpec(join(folder.path, 'dpo-report'), {
    model: { kind: 'model', dir: dpo.outputDir },
    baseline: { kind: 'model', dir: world.baseDir },
    preferenceDataDir: world.preferencesDir,
    suites: [{ suite: 'preference_accuracy', maxPairs: 0, beta: 0.1 }],
  });
  const found = await report(spec);
  expect(metric(found, 'preference.margin').value).toBeCloseTo(metrics['validation.rewards/margins'] ?? Number.NaN, 4);
  expect(metric(found, 'preference.accuracy').value).toBe(metrics['validation.rewards/accuracies']);
});

test('a long sampling suite can be stopped between two tokens', async () => {
  let asked = 0;
  const spec = evaluateSpec(join(folder.path, 'stopped'), { suites: [toxicity] });
  const run = await runInProcess(folder.path, spec, () => {
    asked += 1;
    return asked > 3;
  });
  expect({ exitCode: run.exitCode, asked }).toEqual({ exitCode: 75, asked: 4 });
});

test.each([
  ['/baseline', { preferenceDataDir: '/somewhere' }],
  ['/preferenceDataDir', { baseline: { kind: 'model', dir: '/base' } }],
] as const)('preference_accuracy without %s is refused', async (pointer, given) => {
  const spec = evaluateSpec(join(folder.path, 'refused'), {
    suites: [{ suite: 'preference_accuracy', maxPairs: 0, beta: 0.1 }],
    ...given,
  });
  const run: ProgramResult = await runInProcess(folder.path, spec);
  expect(run.exitCode).toBe(78);
  expect(onlyMessage(run, 'error')).toMatchObject({
    code: 'TrainerBadConfig',
    message: expect.stringContaining(pointer),
  });
});

test('pairs of another tokenizer are refused', async () => {
  const other = await writeDataset(join(folder.path, 'other'), {
    train: chainDocuments(20, 2),
    validation: chainDocuments(5, 3),
  });
  const json = other.tokenizerJson.replace('"version"', ' "version"');
  const preferenceDataDir = join(folder.path, 'other-preferences');
  await writePairs(preferenceDataDir, { ...other, tokenizerJson: json }, { train: 5, validation: 5, seed: 1 });
  const spec = evaluateSpec(join(folder.path, 'mismatch'), {
    baseline: { kind: 'model', dir: world.baseDir },
    preferenceDataDir,
    suites: [{ suite: 'preference_accuracy', maxPairs: 0, beta: 0.1 }],
  });
  const run = await runInProcess(folder.path, spec);
  expect(run.exitCode).toBe(65);
  expect(onlyMessage(run, 'error').code).toBe('TrainerTokenizerMismatch');
});
