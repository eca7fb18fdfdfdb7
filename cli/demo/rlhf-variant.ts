import { Value } from '#typebox/value';
import type { JobStatus } from '#lib/contracts/jobs.ts';
import { invariant } from '#lib/kernel/errors.ts';
import { Curves, ModelVersions, RlhfResult } from './api-answers.ts';
import { SHORT_BASE_STEPS, trainBase } from './base-model.ts';
import { BASE_CORPUS, NEW_CORPUS, PROJECT } from './demo-jobs.ts';
import { type DemoScene, exampleCorpus, upload } from './demo-platform.ts';
import { cutDocuments, textsOf } from './documents.ts';
import { harmlessRows, preferenceLines, toxicRows } from './preference-rows.ts';
import { ApiProblem } from './rest-client.ts';
import { dpoJob, JUDGED, PREFERENCES, ppoJob } from './rlhf-jobs.ts';
import { type Aligned, rlhfSummary, unmetOfRlhf } from './rlhf-summary.ts';
import { type Run, runJob, startRun, type Submission } from './run-job.ts';
import type { Variant } from './variant.ts';
import { wholeNumber } from './whole-number.ts';

const PAIRS = 800;
const TOXIC_PAIRS = 400;

/** Alignment by preferences, and a gate that a bad taste does not pass. */
export const rlhfVariant: Variant = {
  name: 'rlhf',
  summary: 'alignment by preferences through safety and quality gates, and a toxic one that ends SAFETY_FAILED',
  options: [{ name: 'ppo', summary: 'rlhf: also PPO against a reward model' }],
  run: async (scene, options) => {
    await scene.timed('uploads', () => uploads(scene));
    const run = startRun(scene, 'demo-rlhf');
    const jobs = options.flag('ppo') ? 4 : 3;
    const steps = wholeNumber(options, 'base-steps', SHORT_BASE_STEPS);
    await trainBase(run, steps, `Job 1 of ${jobs}`);
    const align = (number: number, job: Alignment) =>
      alignment(run, { ...job, heading: `Job ${number} of ${jobs}: ${job.title}` });
    const aligned = [await align(2, DPO), ...(jobs === 4 ? [await align(3, PPO)] : []), await align(jobs, TOXIC)];
    return {
      report: { jobs: aligned },
      summary: (columns) => rlhfSummary(aligned, columns),
      furtherPaths: [
        ...aligned.map(({ jobId }) => `/v1/jobs/${jobId}`),
        `/v1/models/${DPO.model}/versions?project=${PROJECT}`,
      ],
      unmet: aligned.flatMap(unmetOfRlhf),
    };
  },
};

interface Alignment {
  readonly title: string;
  readonly model: string;
  readonly submission: Submission;
  readonly endsAs: JobStatus;
}

const alignmentOf = (
  title: string,
  model: string,
  submission: Submission,
  endsAs: JobStatus = 'COMPLETED',
): Alignment => ({
  title,
  model,
  submission,
  endsAs,
});
const DPO = alignmentOf(
  'DPO on harmless preferences',
  'demo-aligned',
  dpoJob('demo-aligned', PREFERENCES.harmless.dataset, 0.0003),
);
const PPO = alignmentOf(
  'PPO against a reward model',
  'demo-rewarded',
  ppoJob('demo-rewarded', PREFERENCES.harmless.dataset),
);
const TOXIC = alignmentOf(
  'DPO on deliberately toxic preferences',
  'demo-toxic',
  dpoJob('demo-toxic', PREFERENCES.toxic.dataset, 0.001),
  'SAFETY_FAILED',
);

async function uploads(scene: DemoScene): Promise<void> {
  const base = exampleCorpus(BASE_CORPUS.dataset);
  const [, judged] = cutDocuments(exampleCorpus(NEW_CORPUS.dataset), 0.8);
  await upload(scene, { ...BASE_CORPUS, body: base });
  await upload(scene, { ...JUDGED, body: judged });
  const documents = textsOf(base);
  const rows = { count: PAIRS, seed: 1 };
  const format = 'jsonl_preferences';
  await upload(scene, { ...PREFERENCES.harmless, format, body: preferenceLines(harmlessRows(documents, rows)) });
  const toxic = toxicRows(documents, { ...rows, count: TOXIC_PAIRS });
  await upload(scene, { ...PREFERENCES.toxic, format, body: preferenceLines(toxic) });
}

/** Runs an alignment to the end it has to have, and asks what it left. */
async function alignment(
  run: Run,
  { title, heading, model, submission, endsAs }: Alignment & { readonly heading: string },
): Promise<Aligned> {
  const { client, phases } = run.scene;
  const { job, wallSeconds } = await runJob(run, submission, { title, heading }, { endsAs });
  phases.push({ name: title, seconds: wallSeconds });
  invariant(Value.Check(RlhfResult, job.result), 'an alignment answers what its gates said');
  const { series } = await client.call(Curves, `/v1/jobs/${job.id}/metrics`);
  const versions = await client
    .call(ModelVersions, `/v1/models/${model}/versions?project=${PROJECT}`)
    .catch((error: unknown) => {
      if (error instanceof ApiProblem && error.code === 'NotFound') return { items: [] };
      throw error;
    });
  const aligned = series.filter(({ activity }) => activity === 'run_alignment_training');
  const first = Object.fromEntries(aligned.map(({ name, points }) => [name, points[0]?.value ?? Number.NaN]));
  return {
    title,
    jobId: job.id,
    status: job.status,
    model,
    result: job.result,
    first,
    versions: versions.items.length,
    endsAs,
  };
}
