import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ResolvedSubject } from '#lib/contracts/eval-only-job.ts';
import type { ModelReport, ReportSubject } from '#lib/contracts/model-report.ts';
import { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import type { EvaluateSpec, EvaluationReport } from '#lib/contracts/trainer-protocol.ts';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { jobFolder, pull } from '#lib/worker/workspace.ts';
import { reportMarkdown } from '../domain/report-markdown.ts';
import { pairsToScore, preferencesDigest, textToScore } from './evaluation-data.ts';
import { parseEvaluationReport, SAMPLES } from './evaluation-report.ts';
import { commonTokenizer, pullSubject } from './evaluation-subjects.ts';
import { type GpuPlatform, runTrainer } from './trainer-run.ts';

type Context = ActivityContext<ActivityInput<'evaluate_models'>>;
type Output = ActivityOutput<'evaluate_models'>;

/**
 * Scores one subject and any number of others on all of a dataset, each once and on the same items, and stores the report as JSON and as
 * Markdown under their digests. Whether the figures are good enough is the workflow's decision. Idempotent: the same input gives the same
 * bytes under the same keys; an attempt that is stopped starts again.
 */
export async function evaluateModels(platform: GpuPlatform, context: Context): Promise<Output> {
  const { input, epoch, signal, activityId } = context;
  requirePairs(input);
  // 1. What can be compared at all.
  const tokenizer = await commonTokenizer(platform, [input.subject, ...input.compareWith]);
  // 2. The items.
  const folder = join(platform.workspaceDir, jobFolder(input.jobId));
  const data = await textToScore(platform, context, tokenizer);
  const pairs = await pairsToScore(platform, context, tokenizer);
  const dataDir = join(folder, 'evaluation-data', data.digest);
  await pull(platform, data, dataDir, signal);
  const preferenceDataDir = pairs === null ? null : join(folder, 'evaluation-data', pairs.digest);
  if (pairs !== null && preferenceDataDir !== null) await pull(platform, pairs, preferenceDataDir, signal);
  // 3. The models.
  const model = await pullSubject(platform, input.subject, folder, signal);
  const others: EvaluateSpec['comparisons'] = [];
  for (const subject of input.compareWith) others.push(await pullSubject(platform, subject, folder, signal));
  const [baseline, ...comparisons] = others;
  // 4. One run for all of them.
  const outputDir = join(folder, `${activityId}-e${epoch}`);
  const spec: EvaluateSpec = {
    protocol: 'trainyard-trainer/1',
    method: 'evaluate',
    model,
    ...(baseline === undefined ? {} : { baseline }),
    // Programs that know one baseline only can do what needs no more.
    ...(comparisons.length === 0 ? {} : { comparisons }),
    dataDir,
    ...(preferenceDataDir === null ? {} : { preferenceDataDir }),
    outputDir,
    suites: input.suites,
    samples: { count: input.samples, ...SAMPLES },
    seed: input.seed,
    limits: platform.limits,
  };
  await runTrainer(platform, context, spec, folder, { onMessage: () => undefined, beforeYield: async () => null });
  const measured = parseEvaluationReport(await readFile(join(outputDir, 'report.json')));
  const report = modelReport(input, measured, await describe(dataDir));
  const stored = await store(platform, context, report);
  await rm(outputDir, { recursive: true, force: true });
  return {
    ...stored,
    metrics: report.metrics,
    comparisons: report.comparisons.map(({ subject, metrics }) => ({ label: subject.label, metrics })),
    samples: report.samples,
  };
}

function requirePairs({ suites, preferences, compareWith }: ActivityInput<'evaluate_models'>): void {
  if (!suites.some(({ suite }) => suite === 'preference_accuracy')) return;
  const refuse = (pointer: string): never => {
    const message = 'is needed by the suite preference_accuracy';
    throw new TrainyardError('ValidationFailed', `${pointer} ${message}`, { fields: [{ pointer, message }] });
  };
  if (preferences === undefined) refuse('/preferences');
  if (compareWith.length === 0) refuse('/compareWith');
}

const describe = async (dataDir: string): Promise<TokenizedDataset> =>
  Value.Parse(TokenizedDataset, JSON.parse(await readFile(join(dataDir, 'dataset.json'), 'utf8')));

function modelReport(
  { subject, compareWith, dataset, preferences, suites, seed }: ActivityInput<'evaluate_models'>,
  { metrics, comparisons = [], samples }: EvaluationReport,
  { splits }: TokenizedDataset,
): ModelReport {
  const [first, ...rest] = compareWith;
  if (rest.length !== comparisons.length)
    throw new TrainyardError(
      'TrainerFailed',
      `the report compares with ${comparisons.length} models, not ${rest.length}`,
    );
  const { name, version, format, sha256 } = dataset;
  const { documents, tokens } = splits.validation;
  return {
    format: 'trainyard-model-report/1',
    subject: identified(subject),
    dataset: { name, version, format, sha256, documents, tokens },
    ...(preferences === undefined ? {} : { preferences: preferencesDigest(preferences) }),
    suites,
    seed,
    metrics,
    comparisons: [
      ...(first === undefined ? [] : [{ subject: identified(first), metrics }]),
      ...rest.map((other, at) => ({ subject: identified(other), metrics: comparisons[at]?.metrics ?? [] })),
    ],
    samples,
  };
}

const identified = ({ label, weights, adapter, model }: ResolvedSubject): ReportSubject => ({
  label,
  weights: weights.digest,
  ...(adapter === undefined ? {} : { adapter: adapter.digest }),
  ...(model === undefined ? {} : { model: { name: model.name, version: model.version } }),
});

async function store(
  platform: GpuPlatform,
  { project, jobId, activityId }: Context,
  report: ModelReport,
): Promise<Pick<Output, 'report' | 'markdown'>> {
  const put = async (text: string, extension: string): Promise<Output['report']> => {
    const body = Buffer.from(text, 'utf8');
    const digest = createHash('sha256').update(body).digest('hex');
    const at = `reports/${project}/${jobId}/${activityId}/${digest}.${extension}`;
    const { key } = await platform.store.put(at, body, { sha256: digest });
    return { key, digest };
  };
  // Sorted keys whatever the order of the input's, and a line a member for whoever reads it.
  const sorted: unknown = JSON.parse(canonicalJson(report));
  return {
    report: await put(`${JSON.stringify(sorted, null, 2)}\n`, 'json'),
    markdown: await put(reportMarkdown(report), 'md'),
  };
}
