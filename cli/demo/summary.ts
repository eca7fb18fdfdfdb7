import { BASE_CORPUS, NEW_CORPUS, PROJECT } from './demo-jobs.ts';
import type { LearningCurves } from './learning-curves.ts';
import { bitsPerByte, clock, compact, count, seconds, signed } from './quantities.ts';
import type { DemoReport } from './report.ts';
import { indented, lookFurther, prose, section, wallTime } from './summary-parts.ts';
import { table, wrapped } from './table.ts';
import { CHART_LEGEND, terminalChart } from './terminal-chart.ts';
import { type Line, printable, type Span, span, widthOf } from './text-style.ts';

const CHART_ROWS = 10;
const MAX_CHART_COLUMNS = 70;
/** Axis labels left of a chart. */
const CHART_MARGIN = 8;
/** Below this a table of digests cannot be read anyway. */
const MIN_COLUMNS = 40;
const DIGEST_SHOWN = 16;

/** The end of the demo for a person: what was measured and no more. */
export function summary(report: DemoReport, curves: readonly LearningCurves[], columns: number): Line[] {
  const width = Math.max(MIN_COLUMNS, columns);
  const wallMs = report.phases.reduce((sum, phase) => sum + phase.seconds, 0) * 1_000;
  return [
    [],
    [span(`Both jobs are COMPLETED, ${clock(wallMs)} after the start.`, 'good')],
    ...section('Held-out bits per byte (lower is better)', scores(report)),
    [],
    ...prose(findings(report), width),
    ...section('Training loss', [
      ...indented([CHART_LEGEND]),
      ...curves.flatMap((curve) => chart(curve, width)),
      [span(`  the same as a drawing: ${report.lossCurve}`)],
    ]),
    ...section(`Samples of ${tunedName(report)} (a toy model: words half right, no sense)`, samples(report, width)),
    ...section('Registered models and their lineage', lineage(report, width)),
    ...section('Manifest: file, bytes, SHA-256', manifest(report, width)),
    ...section('Lane seconds of both jobs', laneSeconds(report)),
    ...section('Wall time', wallTime(report.phases)),
    ...section('Look further', further(report)),
  ];
}

const nameOf = (report: DemoReport, index: number): string => {
  const model = report.models[index];
  return model === undefined ? '' : `${model.name}/${model.version}`;
};
const tunedName = (report: DemoReport): string => nameOf(report, 1);

function scores(report: DemoReport): Line[] {
  const { evaluation: onNew, baseEvaluation: onOwn } = report;
  const row = (name: string, own: string, fresh: string | Span): (string | Span)[] => [name, own, fresh];
  return indented(
    table(
      [
        [span('', 'faint'), span(BASE_CORPUS.title, 'faint'), span(`${NEW_CORPUS.title} (new)`, 'faint')],
        row('unigram baseline', bitsPerByte(onOwn.unigramBpb), bitsPerByte(onNew.unigramBpb)),
        row('bigram baseline', bitsPerByte(onOwn.bigramBpb), bitsPerByte(onNew.bigramBpb)),
        row(`${nameOf(report, 0)} (base)`, bitsPerByte(onOwn.baseBpb), bitsPerByte(onNew.baseBpb)),
        row(`${tunedName(report)} (LoRA of it)`, '', span(bitsPerByte(onNew.fineTunedBpb), 'good')),
      ],
      ['left', 'right', 'right'],
    ),
  );
}

/** What the figures say, in sentences; also where the model is weak. */
export function findings({ evaluation, baseEvaluation, training }: DemoReport): string[] {
  const difference = evaluation.fineTunedBpb - evaluation.baseBpb;
  const sentences = [
    `LoRA minus base on ${NEW_CORPUS.title}: ${signed(difference)}, standard error ${bitsPerByte(evaluation.standardError)} (paired, same text).`,
    `The base is ${relation(baseEvaluation.baseBpb, baseEvaluation.bigramBpb)} a bigram table of its own corpus (counted on the same training text).`,
    `The LoRA model is ${relation(evaluation.fineTunedBpb, evaluation.bigramBpb)} a bigram table of ${NEW_CORPUS.title}.`,
  ];
  for (const { model, parameters, trainableParameters, steps, tokensPerSecond } of training)
    sentences.push(
      `${model}: ${count(trainableParameters)} of ${count(parameters)} parameters trained, ${count(steps)} steps, ${compact(tokensPerSecond)} tokens/s.`,
    );
  return sentences;
}

const relation = (value: number, other: number): string =>
  `${bitsPerByte(Math.abs(value - other))} ${value < other ? 'better than' : 'worse than'}`;

const chart = (curves: LearningCurves, width: number): Line[] =>
  indented(terminalChart(curves, { columns: Math.min(MAX_CHART_COLUMNS, width - CHART_MARGIN), rows: CHART_ROWS }));

function samples({ samples }: DemoReport, width: number): Line[] {
  return samples.flatMap(({ prompt, text }, index) =>
    wrapped(`${index + 1}. ${printable(prompt)} → ${printable(text)}`, width, '  ').map((line): Line => [span(line)]),
  );
}

function lineage({ models }: DemoReport, width: number): Line[] {
  return models.flatMap(({ name, version, stage, lineage }) => [
    [span(`  ${name}/${version}`, 'accent'), span(`  stage ${stage}`)],
    ...table(
      Object.entries(lineage).map(([key, value]) => [span(`    ${key}`, 'faint'), shortened(value, width - 30)]),
    ),
  ]);
}

/** Whole digests where they fit; the report has them in any case. */
function manifest({ manifest }: DemoReport, width: number): Line[] {
  const rows = (digest: (sha256: string) => string): Line[] =>
    indented(
      table(
        manifest.map(({ path, bytes, sha256 }) => [path, count(bytes), digest(sha256)]),
        ['left', 'right', 'left'],
      ),
    );
  const whole = rows((sha256) => sha256);
  const fits = whole.every((line) => widthOf(line) <= width);
  return fits ? whole : rows((sha256) => `${sha256.slice(0, DIGEST_SHOWN)}…`);
}

const shortened = (text: string, room: number): string =>
  text.length <= room ? text : `${text.slice(0, Math.max(8, room - 1))}…`;

function laneSeconds({ laneSeconds: { useful, lost, waiting } }: DemoReport): Line[] {
  return [[span(`  useful ${seconds(useful)} · lost ${seconds(lost)} · waiting ${seconds(waiting)}`)]];
}

/** Commands that work as printed, in the folder of the project. */
function further({ home, jobs, models }: DemoReport): Line[] {
  const job = jobs.at(-1)?.id ?? '';
  const model = models.at(-1)?.name ?? '';
  return lookFurther(home, [
    `/v1/jobs/${job}`,
    `/v1/jobs/${job}/events`,
    `/v1/models/${model}/versions?project=${PROJECT}`,
  ]);
}
