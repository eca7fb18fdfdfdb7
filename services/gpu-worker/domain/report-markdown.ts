import type { ModelReport } from '#lib/contracts/model-report.ts';
import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { studentTUpperQuantile } from '#lib/statistics/student-t.ts';

/** Outside of a two-sided 95 % interval, on each side. */
const TAIL = 0.025;

/** Digits that mean something beside a standard error, and few enough for a table. */
const DIGITS = 4;

/** A report for people: what was measured, and each comparison with its interval. The same report gives the same text. */
export function reportMarkdown(report: ModelReport): string {
  const { subject, dataset, metrics, comparisons, samples, seed } = report;
  const parts = [
    `# Evaluation of ${plain(subject.label)}`,
    `${dataset.documents} documents (${dataset.tokens} tokens) of dataset ${dataset.name}/${dataset.version}; seed ${seed}.`,
    table(['metric', 'better', 'value ± standard error', 'items'], metrics.map(ownRow)),
    ...comparisons.flatMap((comparison) => [
      `## Against ${plain(comparison.subject.label)}`,
      table(
        [
          'metric',
          plain(subject.label),
          plain(comparison.subject.label),
          'difference ± standard error',
          '95 % interval',
        ],
        comparison.metrics.filter(({ delta }) => delta !== undefined).map(comparedRow),
      ),
    ]),
    ...(comparisons.length === 0
      ? []
      : ['Differences are paired: both models answered the same items. An interval that holds 0 proves nothing.']),
    ...(samples.length === 0 ? [] : ['## Samples', ...samples.flatMap(sampleLines)]),
    `Weights: \`${subject.weights}\`${subject.adapter === undefined ? '' : `, adapter: \`${subject.adapter}\``}. Data: \`${dataset.sha256}\`.`,
  ];
  return `${parts.join('\n\n')}\n`;
}

/** Half the width of the two-sided 95 % interval, Student's t with one degree of freedom less than items; null without a spread. */
function halfWidth({ count, deltaStandardError }: EvaluationMetric): number | null {
  if (deltaStandardError === undefined || count < 2) return null;
  return deltaStandardError === 0 ? 0 : studentTUpperQuantile(TAIL, count - 1) * deltaStandardError;
}

const ownRow = ({ name, value, standardError, higherIsBetter, count }: EvaluationMetric): string[] => [
  `\`${name}\``,
  higherIsBetter ? 'higher' : 'lower',
  withError(value, standardError),
  String(count),
];

function comparedRow(metric: EvaluationMetric): string[] {
  const { name, value, baselineValue, delta = Number.NaN, deltaStandardError } = metric;
  const half = halfWidth(metric);
  return [
    `\`${name}\``,
    figure(value),
    baselineValue === undefined ? '' : figure(baselineValue),
    withError(delta, deltaStandardError ?? null),
    half === null ? 'unknown' : `${figure(delta - half)} to ${figure(delta + half)}`,
  ];
}

const withError = (value: number, error: number | null): string =>
  error === null ? figure(value) : `${figure(value)} ± ${figure(error)}`;

const figure = (value: number): string => String(Number(value.toPrecision(DIGITS)));

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** Generated text is shown as it is, whatever marks it holds: indented, it is code. */
const sampleLines = ({ prompt, text }: { prompt: string; text: string }): string[] => [
  'Prompt, and what the model made of it:',
  indented(prompt),
  indented(text),
];

const indented = (text: string): string =>
  text
    .split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/)
    .map((line) => `    ${line}`)
    .join('\n');

/** Labels may come from outside: one line, and no end of a table's cell. */
const plain = (label: string): string => label.replace(/\s+/g, ' ').replace(/[\\|`*_<>[\]]/g, (mark) => `\\${mark}`);
