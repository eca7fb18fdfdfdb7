import type { OptionValues } from '../command.ts';
import { NEW_CORPUS, PROJECT } from './demo-jobs.ts';
import { type DemoScene, exampleCorpus, upload } from './demo-platform.ts';
import { acceptance } from './hpo-acceptance.ts';
import type { HpoResult } from './hpo-answers.ts';
import { reviveOne, type Revived } from './hpo-revive.ts';
import { runSweep, SEARCHED_MODEL, STEPS, type Sweep, TRIALS } from './hpo-sweep.ts';
import { metricTable } from './metric-table.ts';
import { count, seconds } from './quantities.ts';
import { type Run, startRun } from './run-job.ts';
import { indented, prose, section } from './summary-parts.ts';
import { configurationText } from './sweep-display.ts';
import { table } from './table.ts';
import { type Line, span } from './text-style.ts';
import type { Told, Variant } from './variant.ts';
import { wholeNumber } from './whole-number.ts';

/** A search that stops bad trials while all of them run. */
export const hpoVariant: Variant = {
  name: 'hpo',
  summary: 'a hyper-parameter search of 16 trials that are pruned while they run',
  options: [
    { name: 'revive', summary: 'hpo: a pruned trial is resumed after the search and goes on to its end' },
    { name: 'seeds', value: '<n>', summary: 'hpo: n searches, each with and without pruning, and what pruning saved' },
    { name: 'trial-steps', value: '<n>', summary: `hpo: training steps of a trial; for tests (default ${STEPS})` },
  ],
  // Reports reach the search with the heartbeats: a second would be a tenth of a trial.
  overrides: {
    '*': { HEARTBEAT_EVERY_MS: '300' },
    'gpu-worker': { GPU_SLOTS: String(TRIALS), TRAINER_THREADS: '1' },
  },
  run: async (scene, options) => {
    await scene.timed('uploads', () => upload(scene, { ...NEW_CORPUS, body: exampleCorpus(NEW_CORPUS.dataset) }));
    const run = startRun(scene, 'demo-hpo');
    const steps = wholeNumber(options, 'trial-steps', STEPS);
    const seeds = options.text('seeds') === undefined ? null : wholeNumber(options, 'seeds', 1);
    return seeds === null ? oneSearch(run, scene, options, steps) : acceptance(run, { seeds, steps });
  },
};

async function oneSearch(run: Run, scene: DemoScene, options: OptionValues, steps: number): Promise<Told> {
  const sweep = await runSweep(run, { seed: 1, pruned: true, steps, heading: 'Search' });
  scene.phases.push({ name: 'the search', seconds: sweep.wallSeconds });
  const revived = options.flag('revive')
    ? await scene.timed('the revived trial', () => reviveOne(run, sweep.result))
    : null;
  return told(sweep, revived);
}

function told({ jobId, result }: Sweep, revived: Revived | null): Told {
  const { best, savings, prunings, importance, evaluation, model } = result;
  const completed = result.trials.filter(({ standing }) => standing === 'completed').length;
  const version = model === null ? 'nothing' : `${model.name}/${model.version}`;
  return {
    report: { jobId, ...result, revived },
    summary: (columns) => [
      [],
      [span(`Trial ${best.number} of ${TRIALS} is the best; ${version} is registered.`, 'good')],
      ...section('The best configuration', [
        [span(`  ${configurationText(best.configuration)}`)],
        [span(`  validation loss ${best.value.toFixed(4)}; on the whole held-out split:`, 'faint')],
        ...indented(metricTable(evaluation.metrics)),
      ]),
      ...section('Trials, best first', indented(trialTable(result))),
      ...section('Why each pruned trial was stopped', indented(evidenceTable(prunings))),
      ...section(
        `What mattered, by the ${completed} trials that completed (share of the variance that a parameter explains alone)`,
        indented(importanceTable(importance)),
      ),
      ...section('What pruning saved', prose(savingsText(savings), columns)),
      ...(revived === null ? [] : section('A pruned trial, revived', prose(revivedText(revived, best), columns))),
    ],
    furtherPaths: [
      `/v1/jobs/${jobId}`,
      `/v1/jobs/${jobId}/trials`,
      `/v1/models/${SEARCHED_MODEL}/versions?project=${PROJECT}`,
    ],
    unmet: unmetOf(result, revived),
  };
}

function trialTable({ trials }: HpoResult): Line[] {
  const ranked = trials.toSorted((a, b) => (a.value ?? Infinity) - (b.value ?? Infinity) || b.steps - a.steps);
  const head = ['trial', 'loss', 'steps', 'GPU s', '', ''].map((title) => span(title, 'faint'));
  const rows = ranked.map(({ number, value, steps, plannedSteps, gpuSeconds, standing, configuration }) => [
    String(number),
    value?.toFixed(4) ?? '',
    `${steps} of ${plannedSteps}`,
    gpuSeconds.toFixed(1),
    span(standing, standing === 'pruned' ? 'accent' : 'plain'),
    span(configurationText(configuration), 'faint'),
  ]);
  return table([head, ...rows], ['right', 'right', 'right', 'right', 'left', 'left']);
}

function evidenceTable(prunings: HpoResult['prunings']): Line[] {
  const figure = (value: number | string | null): string =>
    typeof value === 'number' ? value.toFixed(4) : (value ?? '');
  const head = ['trial', 'check', 'best so far', 'needed', 'rank', ''].map((title) => span(title, 'faint'));
  const rows = prunings.map(({ trial, evidence: { step, value, threshold, rank, peers, reason } }) => [
    String(trial),
    `step ${step}`,
    figure(value),
    figure(threshold),
    rank === null ? '' : `${rank} of ${peers + 1}`,
    span(reason, 'faint'),
  ]);
  return table([head, ...rows], ['right', 'right', 'right', 'right', 'right', 'left']);
}

function importanceTable(importance: HpoResult['importance']): Line[] {
  const rows = importance.map(({ parameter, varianceExplained, rankCorrelation }) => [
    parameter,
    varianceExplained === null ? 'too few trials' : `${(100 * varianceExplained).toFixed(0)} %`,
    rankCorrelation === null ? '' : `rank correlation with the loss ${rankCorrelation.toFixed(2)}`,
  ]);
  return table(rows, ['left', 'right', 'left']);
}

const savingsText = ({
  stepsRun,
  stepsSaved,
  savedFraction,
  gpuSecondsUsed,
  gpuSecondsSaved,
}: HpoResult['savings']): string[] => [
  `${count(stepsRun)} steps were run, ${count(stepsSaved)} (${(100 * savedFraction).toFixed(0)} %) were never run.`,
  `${seconds(gpuSecondsUsed)} of slots were used. The platform estimates ${seconds(gpuSecondsSaved)} saved, at the pace of the pruned trials: much of theirs was their start, on shared cores.`,
];

const revivedText = ({ number, from, steps, value }: Revived, best: HpoResult['best']): string[] => [
  `Trial ${number} was stopped at step ${from}, with a checkpoint; resumed, it went on to step ${steps}.`,
  `It ends with a validation loss of ${value.toFixed(4)}, ${value > best.value ? 'worse' : 'better'} than ${best.value.toFixed(4)} of the best trial.`,
];

function unmetOf({ trials, prunings, model }: HpoResult, revived: Revived | null): string[] {
  const unmet: string[] = [];
  if (trials.length !== TRIALS) unmet.push(`${trials.length} of ${TRIALS} trials were made`);
  const failed = trials.filter(({ standing }) => standing === 'failed' || standing === 'cancelled').length;
  if (failed > 0) unmet.push(`${failed} trials failed`);
  if (prunings.length === 0) unmet.push('no trial was pruned');
  if (model === null) unmet.push('the best trial was not registered');
  if (revived !== null && revived.steps !== revived.plannedSteps) unmet.push('the revived trial did not reach its end');
  return unmet;
}
