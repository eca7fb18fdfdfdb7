import { join } from 'node:path';
import { Value } from '#typebox/value';
import { invariant } from '#lib/kernel/errors.ts';
import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { EvalResult } from './api-answers.ts';
import { SHORT_BASE_STEPS, trainBase } from './base-model.ts';
import { BASE_CORPUS, BASE_MODEL, NEW_CORPUS, PROJECT } from './demo-jobs.ts';
import { type DemoScene, exampleCorpus, shown, upload } from './demo-platform.ts';
import { cutDocuments } from './documents.ts';
import { comparisonTable } from './metric-table.ts';
import { jobPhases } from './phases.ts';
import { runFineTune, runJob, startRun } from './run-job.ts';
import { indented, prose, section } from './summary-parts.ts';
import { type Line, printable, span } from './text-style.ts';
import { wrapped } from './table.ts';
import type { Told, Variant } from './variant.ts';
import { wholeNumber } from './whole-number.ts';

/** Chapters of the new corpus that the second version is trained on; the rest is what both are scored on. */
const TRAINED_SHARE = 0.8;
const SEEN = { dataset: `${NEW_CORPUS.dataset}-first-chapters`, title: `${NEW_CORPUS.title}, the first 80 %` };
const UNSEEN = { dataset: `${NEW_CORPUS.dataset}-last-chapters`, title: `${NEW_CORPUS.title}, the last 20 %` };
const SECOND_STEPS = 500;
const SCORE = 'held_out.bits_per_byte';

/** A version of a model against its predecessor, on text that neither has seen. */
export const evalVariant: Variant = {
  name: 'eval',
  summary: 'two versions of a model, compared by an eval_only job on text that neither has seen',
  options: [],
  run: async (scene, options) => {
    await scene.timed('uploads', () => uploads(scene));
    const run = startRun(scene, 'demo-eval');
    const steps = wholeNumber(options, 'base-steps', SHORT_BASE_STEPS);
    const first = await trainBase(run, steps, 'Job 1 of 3');
    const second = await runFineTune(
      run,
      { type: 'fine_tune', spec: secondSpec(steps) },
      {
        title: `a second version, trained on ${SEEN.title}`,
        heading: 'Job 2 of 3: a second version',
      },
    );
    scene.phases.push(...jobPhases(`${BASE_MODEL}/2`, second.wallSeconds, second.record.activities));
    const title = `${BASE_MODEL}@dev against ${BASE_MODEL}/${first.version.version} on ${UNSEEN.title}`;
    const evaluated = await runJob(
      run,
      { type: 'eval_only', spec: evalSpec(first.version.version) },
      { title, heading: `Job 3 of 3: ${title}` },
    );
    scene.phases.push({ name: 'eval_only', seconds: evaluated.wallSeconds });
    const { job } = evaluated;
    invariant(Value.Check(EvalResult, job.result), 'an eval_only job answers what was measured');
    return told(scene, job.id, job.result, second.record.version.version);
  },
};

async function uploads(scene: DemoScene): Promise<void> {
  const [seen, unseen] = cutDocuments(exampleCorpus(NEW_CORPUS.dataset), TRAINED_SHARE);
  await upload(scene, { ...BASE_CORPUS, body: exampleCorpus(BASE_CORPUS.dataset) });
  await upload(scene, { ...SEEN, body: seen });
  await upload(scene, { ...UNSEEN, body: unseen });
}

/** Goes on from the first version with all its weights, on another book. */
const secondSpec = (baseSteps: number) => ({
  dataset: { name: SEEN.dataset },
  base: { model: `${BASE_MODEL}@dev` },
  method: 'full',
  model: { name: BASE_MODEL },
  hyperparameters: {
    // A test asks for few steps of both.
    maxSteps: Math.min(SECOND_STEPS, baseSteps),
    batchSize: 8,
    sequenceLength: 64,
    learningRate: 0.002,
    checkpointEverySteps: SECOND_STEPS,
    evaluateEverySteps: 100,
  },
  evaluation: { suites: [{ suite: 'held_out_text' }], samples: 0 },
});

/** The policy lets the version pass only if it is better than its predecessor. */
const evalSpec = (version: number) => ({
  subject: { model: `${BASE_MODEL}@dev` },
  compareWith: [{ model: `${BASE_MODEL}/${version}` }],
  dataset: { name: UNSEEN.dataset },
  suites: [{ suite: 'held_out_text' }, { suite: 'cloze', items: NEW_CORPUS.dataset }],
  policy: [{ metric: SCORE, operator: '<', threshold: 0, relativeTo: 'base' }],
  samples: 3,
});

function told(scene: DemoScene, jobId: string, result: EvalResult, version: number): Told {
  const { subject, evaluation, comparisons, samples } = result;
  const fileOf = (key: string): string => shown(join(scene.platform.home.objects, 'objects', key));
  const files = { json: fileOf(evaluation.report.key), markdown: fileOf(evaluation.markdown.key) };
  const score = comparisons[0]?.metrics.find(({ name }) => name === SCORE);
  const report = { jobId, subject, evaluation, comparisons, samples, files };
  return {
    report,
    summary: (columns) => [
      [],
      [
        span(
          `${subject} was compared with ${comparisons.map(({ label }) => label).join(', ')}; the policy lets it pass.`,
          'good',
        ),
      ],
      ...section(
        `On ${UNSEEN.title}: the same items for both, differences with their standard errors`,
        indented(comparisonTable(subject, result)),
      ),
      [],
      ...prose(findings(score), columns),
      ...section(`Samples of ${subject} (a toy model)`, sampleLines(samples, columns)),
      ...section('The report, attached to the version by its digest', [
        [span(`  Markdown  ${files.markdown}`)],
        [span(`  JSON      ${files.json}`)],
        [span(`  SHA-256   ${evaluation.report.digest}`, 'faint')],
      ]),
    ],
    furtherPaths: [`/v1/jobs/${jobId}`, `/v1/models/${BASE_MODEL}/versions?project=${PROJECT}`],
    unmet: [
      ...(subject === `${BASE_MODEL}/${version}` ? [] : [`${BASE_MODEL}@dev is ${subject}, not the newest version`]),
      ...unmetOf(score),
    ],
  };
}

/** Both differences of a paired comparison are far outside what chance does: five standard errors. */
const CERTAIN = 5;

function unmetOf(score: EvaluationMetric | undefined): string[] {
  if (score?.delta === undefined || score.deltaStandardError === undefined) return [`${SCORE} was not compared`];
  return score.delta < -CERTAIN * score.deltaStandardError
    ? []
    : [`the second version is not better than the first by ${CERTAIN} standard errors`];
}

function findings(score: EvaluationMetric | undefined): string[] {
  if (score?.delta === undefined || score.deltaStandardError === undefined) return [];
  const times = Math.abs(score.delta / score.deltaStandardError);
  return [
    `The difference of ${SCORE} is ${times.toFixed(0)} standard errors, over ${score.count} windows of text.`,
    `The versions are paired: both saw the same windows, so what is hard for both cancels out.`,
  ];
}

const sampleLines = (samples: EvalResult['samples'], columns: number): Line[] =>
  samples.flatMap(({ prompt, text }, index) =>
    wrapped(`${index + 1}. ${printable(prompt)} → ${printable(text)}`, columns, '  ').map((line): Line => [span(line)]),
  );
