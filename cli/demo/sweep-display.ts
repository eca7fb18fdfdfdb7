import type { Job, Lane } from './api-answers.ts';
import type { Display, Said } from './display.ts';
import type { TrialView } from './hpo-answers.ts';
import type { Screen } from './progress-frame.ts';
import { clock } from './quantities.ts';
import { table } from './table.ts';
import { fitted, type Line, type Span, span, type Tone } from './text-style.ts';

/** A search at one moment. */
export interface SweepView {
  readonly heading: string;
  readonly job: Job;
  readonly trials: readonly TrialView[];
  /** Trials the search will make. */
  readonly planned: number;
  readonly gpuLane: Lane | null;
  readonly atMs: number;
}

type Standing = 'waits' | 'runs' | 'pruned' | 'done' | 'failed';

const SYMBOLS: Readonly<Record<Standing, readonly [string, Tone]>> = {
  waits: ['…', 'faint'],
  runs: ['▸', 'active'],
  pruned: ['✂', 'accent'],
  done: ['✓', 'good'],
  failed: ['✗', 'bad'],
};

/** A paused trial is a pruned one: nobody else pauses trials in a demo. */
function standingOf({ status }: TrialView): Standing {
  switch (status) {
    case 'COMPLETED':
      return 'done';
    case 'PAUSED':
      return 'pruned';
    case 'RUNNING':
      return 'runs';
    case 'SUBMITTED':
    case 'QUEUED':
      return 'waits';
    default:
      return 'failed';
  }
}

/** The trials of a search, one a row where there is room. */
export const sweepDisplay = (view: SweepView): Display => ({
  frame: (screen) => frame(view, screen),
  news: (said) => news(view, said),
});

function frame(view: SweepView, { columns, rows }: Screen): Line[] {
  const { heading, job, trials, atMs } = view;
  const elapsedMs = (job.finishedAt === null ? atMs : Date.parse(job.finishedAt)) - Date.parse(job.submittedAt);
  const lines: Line[] = [
    [span(heading, 'strong'), span(`  ${job.status} ${job.step ?? ''} ${clock(elapsedMs)}`, 'faint')],
    [span(`  ${counts(view)}`)],
  ];
  const room = rows - 1 - lines.length;
  if (trials.length <= room) lines.push(...table(trials.map(row), ['left', 'right', 'left', 'right', 'right']));
  return lines.map((line) => fitted(line, columns - 1)).slice(0, Math.max(1, rows - 1));
}

function row(trial: TrialView): (string | Span)[] {
  const standing = standingOf(trial);
  const [symbol, tone] = SYMBOLS[standing];
  const { number, configuration, lastReport } = trial;
  return [
    span(`  ${symbol}`, tone),
    String(number),
    span(standing, standing === 'waits' ? 'faint' : 'plain'),
    lastReport === null ? '' : `step ${lastReport.step}`,
    lastReport === null ? '' : lastReport.value.toFixed(4),
    span(configurationText(configuration), 'faint'),
  ];
}

/** `3 run, 2 wait, 4 pruned, 1 done of 16 · 3 of 8 GPU slots · best so far 3.8211 at step 40 (trial 4)`. */
function counts({ trials, planned, gpuLane }: SweepView): string {
  const of = (standing: Standing): number => trials.filter((trial) => standingOf(trial) === standing).length;
  const failed = of('failed') === 0 ? '' : `, ${of('failed')} failed`;
  const best = bestSoFar(trials);
  const leader =
    best === null ? '' : ` · best so far ${best.value.toFixed(4)} at step ${best.step} (trial ${best.number})`;
  const slots = gpuLane === null ? '' : ` · ${gpuLane.running} of ${gpuLane.slots} GPU slots`;
  return `${of('runs')} run, ${of('waits')} wait, ${of('pruned')} pruned, ${of('done')} done${failed} of ${planned}${slots}${leader}`;
}

/** The lowest newest point of a curve; trials at different steps are compared as they are. */
function bestSoFar(trials: readonly TrialView[]): { number: number; step: number; value: number } | null {
  const points = trials.flatMap(({ number, lastReport }) => (lastReport === null ? [] : [{ number, ...lastReport }]));
  return points.length === 0 ? null : points.reduce((best, point) => (point.value < best.value ? point : best));
}

export const configurationText = (configuration: TrialView['configuration']): string =>
  Object.entries(configuration)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name} ${typeof value === 'number' ? Number(value.toPrecision(3)) : value}`)
    .join(', ');

/** Without a terminal: each change of a trial, and the counts every few seconds. */
const COUNTS_EVERY_MS = 5_000;
const WORDS: Readonly<Record<Standing, string>> = {
  waits: 'asked for',
  runs: 'runs',
  pruned: 'is pruned',
  done: 'is done',
  failed: 'ended',
};

function news(view: SweepView, said: Said): { readonly lines: string[]; readonly said: Said } {
  const steps = new Map(said.steps);
  const lines: string[] = [];
  for (const trial of view.trials) {
    const { number, lastReport, status, configuration } = trial;
    const standing = standingOf(trial);
    if (steps.get(number) === standing) continue;
    steps.set(number, standing);
    const point = lastReport === null ? '' : ` at step ${lastReport.step}, ${lastReport.value.toFixed(4)}`;
    const more =
      standing === 'waits' ? `: ${configurationText(configuration)}` : standing === 'failed' ? ` ${status}` : point;
    lines.push(`trial ${String(number).padStart(2)} ${WORDS[standing]}${more}`);
  }
  const elapsedMs = view.atMs - Date.parse(view.job.submittedAt);
  const due = elapsedMs - said.workAtMs >= COUNTS_EVERY_MS;
  if (due) lines.push(`search    ${counts(view)}`);
  return { lines, said: { steps, workAtMs: due ? elapsedMs : said.workAtMs } };
}
