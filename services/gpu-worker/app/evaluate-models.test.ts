import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Value } from '#typebox/value';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ResolvedSubject } from '#lib/contracts/eval-only-job.ts';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import { ModelReport } from '#lib/contracts/model-report.ts';
import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { readTokenRows } from '#lib/datasets/row-folder-reader.ts';
import { FileObjectStore } from '#lib/object-store/file-store.ts';
import { readManifest, uploadFolder } from '#lib/object-store/manifest.ts';
import { type Activity, type ActivityContext, YieldedError } from '#lib/worker/activity.ts';
import { startTrainer } from '../adapters/trainer-process.ts';
import { type AlignmentWorld, alignmentWorld } from '../trainer/test-support/alignment.ts';
import { chainDocuments } from '../trainer/test-support/dataset.ts';
import { runInProcess } from '../trainer/test-support/program.ts';
import { sftSpec } from '../trainer/test-support/specs.ts';
import { gpuActivities } from './activities.ts';
import { SlotPool } from './slot-pool.ts';
import type { GpuPlatform } from './trainer-run.ts';

const MAIN = fileURLToPath(new URL('../trainer/main.ts', import.meta.url));
const ROWS = 60;
type Input = ActivityInput<'evaluate_models'>;
type Output = ActivityOutput<'evaluate_models'>;
type Stored = { readonly manifestKey: string; readonly digest: string };

let root: string;
let store: FileObjectStore;
let activities: Record<string, Activity>;
let world: AlignmentWorld;
let base: ResolvedSubject;
let tuned: ResolvedSubject;
let adapted: ResolvedSubject;
let dataset: ResolvedDataset;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'trainyard-evaluate-models-'));
  store = new FileObjectStore({ root: join(root, 'objects') });
  world = await alignmentWorld(join(root, 'world'));
  const onBase = { base: { kind: 'model', dir: world.baseDir } as const, hyperparameters: { maxSteps: 60 } };
  const [tunedDir, adapterDir] = [join(root, 'tuned'), join(root, 'adapter')];
  await trained({ ...onBase, outputDir: tunedDir });
  await trained({ ...onBase, outputDir: adapterDir, technique: 'lora' });
  base = { label: 'base/1', weights: await stored('base', world.baseDir), model: { name: 'base', version: 1 } };
  tuned = { label: 'tuned/1', weights: await stored('tuned', tunedDir) };
  adapted = { label: 'adapted/2', weights: base.weights, adapter: await stored('adapter', adapterDir) };
  dataset = await rowsOf(chainDocuments(ROWS, 11).map(({ text }) => ({ text })));
  const platform: Omit<GpuPlatform, 'log' | 'registry'> = {
    store,
    workspaceDir: join(root, 'workspace'),
    workspaceMarginBytes: 0,
    startTrainer: (specPath, environment, onMessage) =>
      startTrainer([process.execPath, MAIN], specPath, { environment: { ...environment, PATH: '' }, onMessage }),
    slots: new SlotPool([], 4),
    limits: { maxMemoryMib: 0, threads: 1 },
    yieldTimeoutMs: 20_000,
  };
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  activities = gpuActivities({ ...platform, log } as unknown as GpuPlatform);
});

afterAll(() => rm(root, { recursive: true, force: true }));

async function trained(overrides: Parameters<typeof sftSpec>[2]): Promise<void> {
  const run = await runInProcess(root, sftSpec(root, world.dataset.dir, overrides));
  if (run.exitCode !== 0) throw new Error(JSON.stringify(run.messages.at(-1)));
}

async function stored(prefix: string, folder: string): Promise<Stored> {
  const createdBy = { jobId: 'earlier', activity: 'a', epoch: 1 };
  const { manifestKey, digest } = await uploadFolder(store, folder, prefix, { createdBy });
  return { manifestKey, digest };
}

async function rowsOf(rows: readonly object[]): Promise<ResolvedDataset> {
  const body = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const sha256 = createHash('sha256').update(body).digest('hex');
  const { key } = await store.put(`datasets/demo/items/${sha256}`, body);
  const [first = {}] = rows;
  const format =
    'completion' in first ? 'jsonl_prompt_completion' : 'chosen' in first ? 'jsonl_preferences' : 'jsonl_text';
  return { name: 'items', version: 1, format, key, sha256, bytes: body.length };
}

const input = (change: Partial<Input> = {}): Input => ({
  jobId: 'job-1',
  subject: tuned,
  compareWith: [base, tuned, adapted],
  dataset,
  suites: [
    { suite: 'held_out_text', maxTokens: 0 },
    { suite: 'cloze', items: 'moby-dick', maxItems: 12 },
  ],
  samples: 2,
  seed: 7,
  ...change,
});

interface Attempt {
  readonly epoch?: number;
  readonly signal?: AbortSignal;
  readonly progress?: () => void;
}

/** One attempt through the schemas, as a worker runs it. */
async function run(name: string, given: Input, attempt: Attempt = {}): Promise<Output> {
  const activity = activities[name];
  if (activity?.input === undefined || activity.output === undefined) throw new Error(`no activity ${name}`);
  expect(Value.Errors(activity.input, given)).toEqual([]);
  const context: ActivityContext = {
    workflowId: 'w',
    activityId: name,
    epoch: attempt.epoch ?? 1,
    jobId: given.jobId,
    project: 'demo',
    input: given,
    resume: null,
    signal: attempt.signal ?? new AbortController().signal,
    progress: () => attempt.progress?.(),
    metrics: () => undefined,
    checkpointSaved: () => undefined,
  };
  const output = (await activity.run(context)) as Output;
  expect(Value.Errors(activity.output, output)).toEqual([]);
  return output;
}

const named = (metrics: readonly EvaluationMetric[], name: string): EvaluationMetric => {
  const found = metrics.find((metric) => metric.name === name);
  if (found === undefined) throw new Error(`no ${name} among ${metrics.map((metric) => metric.name).join()}`);
  return found;
};

describe('a model against three others', () => {
  let output: Output;
  beforeAll(async () => {
    output = await run('evaluate_models', input());
  });

  test('differs from itself by exactly nothing', () => {
    expect(output.comparisons.map(({ label }) => label)).toEqual(['base/1', 'tuned/1', 'adapted/2']);
    const itself = output.comparisons[1]?.metrics ?? [];
    expect(itself).toHaveLength(4);
    for (const metric of itself)
      expect(metric).toMatchObject({ delta: 0, deltaStandardError: 0, baselineValue: metric.value });
  });

  test('is better than its base, and the error of the difference is paired', () => {
    const loss = named(output.metrics, 'held_out.loss');
    expect(output.comparisons[0]?.metrics).toEqual(output.metrics);
    expect(loss.delta).toBeLessThan(0);
    expect(loss.deltaStandardError).toBeGreaterThan(0);
    // Unpaired it would be at least the standard error of one of the two.
    expect(loss.deltaStandardError).toBeLessThan((loss.standardError ?? 0) / 2);
    const adapter = named(output.comparisons[2]?.metrics ?? [], 'held_out.loss');
    expect(adapter.value).toBe(loss.value);
    expect(adapter.baselineValue).not.toBe(loss.baselineValue);
  });

  test('is scored on every row, and no counting baseline is made up without a train split', async () => {
    const tokens = chainDocuments(ROWS, 11).reduce(
      (sum, { text }) => sum + world.dataset.tokenizer.encode(text).length + 1,
      0,
    );
    expect(named(output.metrics, 'held_out.loss').count).toBe(Math.ceil((tokens - 1) / 32));
    expect(output.metrics.map(({ name }) => name)).toEqual([
      'held_out.loss',
      'held_out.perplexity',
      'held_out.bits_per_byte',
      'cloze.moby-dick.accuracy',
    ]);
    const report = await reportOf(output);
    expect(report.dataset).toMatchObject({ name: 'items', documents: ROWS, tokens });
  });

  test('leaves a report whose digest is that of the bytes, and says who was compared', async () => {
    for (const file of [output.report, output.markdown]) {
      const body = await store.get(file.key);
      expect(createHash('sha256').update(body).digest('hex')).toBe(file.digest);
    }
    expect(output.report.key).toBe(`reports/demo/job-1/evaluate_models/${output.report.digest}.json`);
    const report = await reportOf(output);
    expect(report.subject).toEqual({ label: 'tuned/1', weights: tuned.weights.digest });
    expect(report.comparisons.map(({ subject }) => subject)).toEqual([
      { label: 'base/1', weights: base.weights.digest, model: { name: 'base', version: 1 } },
      { label: 'tuned/1', weights: tuned.weights.digest },
      { label: 'adapted/2', weights: base.weights.digest, adapter: adapted.adapter?.digest },
    ]);
    expect(report.metrics).toEqual(output.metrics);
    const markdown = (await store.get(output.markdown.key)).toString('utf8');
    expect(markdown).toContain('# Evaluation of tuned/1');
    for (const { label } of output.comparisons) expect(markdown).toContain(`## Against ${label}`);
  });

  test('gives the same bytes on another node and under another epoch, and finds the tokens ready', async () => {
    await rm(join(root, 'workspace', 'jobs'), { recursive: true });
    const before = await keys('evaluation-data/');
    const again = await run('evaluate_models', input(), { epoch: 2 });
    expect(again).toEqual(output);
    expect(await keys('evaluation-data/')).toEqual(before);
    const [manifest] = before.filter((key) => key.endsWith('manifest.json'));
    expect((await readManifest(store, manifest ?? '')).createdBy.epoch).toBe(1);
  });

  test('is the same under each of its names, but for where the report lies', async () => {
    for (const name of ['run_safety_evaluation', 'run_quality_evaluation', 'compare_with_champion']) {
      const other = await run(name, input());
      expect(other.report).toEqual({
        key: `reports/demo/job-1/${name}/${output.report.digest}.json`,
        digest: output.report.digest,
      });
    }
  });
});

test('one comparison asks nothing of the program that it could not do before', async () => {
  const output = await run('evaluate_models', input({ jobId: 'one', compareWith: [base] }));
  expect(output.comparisons.map(({ metrics }) => metrics)).toEqual([output.metrics]);
  const spec = await readFile(join(root, 'workspace', 'jobs', 'one', 'spec-evaluate_models-e1.json'), 'utf8');
  expect(Object.keys(JSON.parse(spec) as object)).not.toContain('comparisons');
});

test('a model can be evaluated for itself', async () => {
  const output = await run('evaluate_models', input({ jobId: 'alone', compareWith: [], samples: 0 }));
  expect(output.comparisons).toEqual([]);
  expect(named(output.metrics, 'held_out.loss').delta).toBeUndefined();
  expect((await reportOf(output)).samples).toEqual([]);
});

test('prompts and completions are scored on the completions', async () => {
  const rows = chainDocuments(20, 12).map(({ text }) => ({ prompt: text.slice(0, 40), completion: text.slice(40) }));
  const output = await run('evaluate_models', input({ jobId: 'pairs', dataset: await rowsOf(rows) }));
  expect(named(output.metrics, 'held_out.loss').delta).toBeLessThan(0);
});

test('pairs of preference are scored by the reward against each of the others, tokenized or as a dataset', async () => {
  const suites: Input['suites'] = [{ suite: 'preference_accuracy', maxPairs: 0, beta: 0.1 }];
  const preferences = await stored('preferences', world.preferencesDir);
  const output = await run('evaluate_models', input({ jobId: 'preferences', preferences, suites }));
  // The held-out pairs as rows of text: the same ids, hence the same figures.
  const { validation } = await readTokenRows(world.preferencesDir, 'trainyard-preferences/1');
  const { tokenizer } = world.dataset;
  const rows = Array.from({ length: validation.count }, (_, at) => {
    const [prompt, chosen, rejected] = validation
      .at(at)
      .map((ids) => tokenizer.decode(ids).replace('<|endoftext|>', ''));
    return { prompt, chosen, rejected };
  });
  const asRows = await run('evaluate_models', input({ jobId: 'rows', preferences: await rowsOf(rows), suites }));
  expect(asRows.metrics).toEqual(output.metrics);
  expect(asRows.comparisons).toEqual(output.comparisons);
  expect(named(output.metrics, 'preference.accuracy').count).toBe(40);
  expect(output.comparisons[1]?.metrics).toMatchObject([
    { name: 'preference.accuracy', value: 0.5 },
    { name: 'preference.margin', value: 0 },
  ]);
});

test('asked to stop it yields, and what it wrote into its folder is not taken for a result', async () => {
  const abort = new AbortController();
  const stopped = run('evaluate_models', input({ jobId: 'stopped' }), {
    signal: abort.signal,
    progress: () => abort.abort('WorkerStopping'),
  });
  await expect(stopped).rejects.toBeInstanceOf(YieldedError);
  expect(await keys('reports/demo/stopped/')).toEqual([]);
});

describe('what cannot be compared is refused for good before a program starts', () => {
  const cases: Record<string, [code: string, change: () => Promise<Partial<Input>>]> = {
    'a model with another tokenizer': ['TokenizersDiffer', async () => ({ compareWith: [base, await foreign()] })],
    'an adapter without its model': [
      'EvaluationSubjectInvalid',
      async () => ({ subject: { label: 'a', weights: adapted.adapter as Stored } }),
    ],
    'a folder that is no model': [
      'EvaluationSubjectInvalid',
      async () => ({ subject: { label: 'd', weights: await data() } }),
    ],
    'a manifest that does not exist': [
      'ObjectNotFound',
      async () => ({
        subject: { label: 'n', weights: { manifestKey: 'nowhere/manifest.json', digest: '0'.repeat(64) } },
      }),
    ],
    'a dataset that is gone': [
      'DatasetMissing',
      async () => ({ dataset: { ...dataset, key: 'datasets/gone', sha256: '1'.repeat(64) } }),
    ],
    'pairs as the text to score': [
      'DatasetFormatUnfit',
      async () => ({ dataset: { ...dataset, format: 'jsonl_preferences' as const } }),
    ],
    'text as pairs': ['DatasetFormatUnfit', async () => ({ preferences: dataset })],
    'preference accuracy without pairs': [
      'ValidationFailed',
      async () => ({ suites: [{ suite: 'preference_accuracy', maxPairs: 0, beta: 0.1 }] }),
    ],
  };
  test.each(Object.keys(cases))('%s', async (name) => {
    const [code, change] = cases[name] ?? ['', async () => ({})];
    const refused = run('evaluate_models', input({ jobId: 'refused', ...(await change()) }));
    await expect(refused).rejects.toMatchObject({ code, retryable: false });
  });

  const data = (): Promise<Stored> => stored('data', world.dataset.dir);

  async function foreign(): Promise<ResolvedSubject> {
    const dir = join(root, 'foreign');
    await trained({ outputDir: dir, hyperparameters: { maxSteps: 1 } });
    const json = await readFile(join(dir, 'tokenizer.json'), 'utf8');
    await writeFile(join(dir, 'tokenizer.json'), `${json}\n`);
    return { label: 'foreign/1', weights: await stored('foreign', dir) };
  }
});

async function reportOf({ report }: Output): Promise<ModelReport> {
  return Value.Parse(ModelReport, JSON.parse((await store.get(report.key)).toString('utf8')));
}

async function keys(prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found;
}
