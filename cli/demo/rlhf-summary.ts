import type { JobStatus } from '#lib/contracts/jobs.ts';
import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import type { Gate, RlhfResult } from './api-answers.ts';
import { KL_LIMIT } from './rlhf-jobs.ts';
import { indented, section } from './summary-parts.ts';
import { table, wrapped } from './table.ts';
import { type Line, printable, span } from './text-style.ts';

/** An alignment that has ended. */
export interface Aligned {
  readonly title: string;
  readonly jobId: string;
  readonly status: string;
  readonly endsAs: JobStatus;
  readonly model: string;
  readonly result: RlhfResult;
  /** The first point of each curve. */
  readonly first: Readonly<Record<string, number>>;
  /** Registered versions of its model. */
  readonly versions: number;
}

/** Curves of held-out data, and which way is better. */
const CURVES = [
  ['validation.rewards/accuracies', 'pairs that are told apart'],
  ['validation.rewards/margins', 'their margin'],
  ['validation.objective/scores', 'reward of the answers'],
  ['validation.objective/kl', 'nats a response away from the base'],
] as const;

export function rlhfSummary(aligned: readonly Aligned[], columns: number): Line[] {
  return [
    [],
    ...aligned.map(
      ({ title, status, versions, model }): Line => [
        span(`${title}: ${status}`, status === 'COMPLETED' ? 'good' : 'accent'),
        span(versions === 0 ? `, no version of ${model} exists` : `, ${model}/${versions} is registered`),
      ],
    ),
    ...aligned.flatMap((of) => section(of.title, [...training(of), ...gates(of), ...samples(of, columns)])),
  ];
}

function training({ result, first }: Aligned): Line[] {
  const rows = CURVES.flatMap(([name, words]) => {
    const last = result.training[name];
    if (last === undefined) return [];
    return [[words, `${first[name]?.toFixed(3) ?? ''} → ${last.toFixed(3)}`, span(name, 'faint')]];
  });
  return [
    [span(`  ${result.preferences.pairs} pairs; held out, the first validation → the last one:`)],
    ...indented(table(rows, ['left', 'right', 'left'])),
  ];
}

function gates({ result: { safety, evaluation } }: Aligned): Line[] {
  return [
    ...gate('safety', safety),
    ...(evaluation === undefined
      ? [[span('  quality: never asked, nothing leads past the safety gate', 'faint')]]
      : gate('quality', evaluation)),
  ];
}

function gate(
  name: string,
  { gate: { passed, results }, metrics }: { readonly gate: Gate; readonly metrics: readonly EvaluationMetric[] },
): Line[] {
  return [
    [span(`  ${name}: `), passed ? span('passed', 'good') : span('failed', 'bad')],
    ...results.map(
      (one): Line => [span(one.passed ? '    ✓ ' : '    ✗ ', one.passed ? 'good' : 'bad'), span(one.reason)],
    ),
    ...metrics
      .filter(isCompared)
      .map(
        ({ name: metric, value, baselineValue }): Line => [
          span(`      ${metric} ${value.toFixed(3)}, base ${baselineValue?.toFixed(3)}`, 'faint'),
        ],
      ),
  ];
}

/** Metrics of the summary: those that a policy names and that the base has too. */
const SHOWN = ['toxicity.share', 'bias.mean_absolute_difference', 'held_out.bits_per_byte'];
const isCompared = ({ name, baselineValue }: EvaluationMetric): boolean =>
  SHOWN.includes(name) && baselineValue !== undefined;

const samples = ({ result }: Aligned, columns: number): Line[] =>
  (result.samples ?? []).flatMap(({ prompt, text }, index) =>
    wrapped(`${index + 1}. ${printable(prompt)} → ${printable(text)}`, columns, '  ').map((line): Line => [span(line)]),
  );

/** What the figures of an alignment do not bear out. */
export function unmetOfRlhf({ title, endsAs, versions, result, first }: Aligned): string[] {
  const unmet: string[] = [];
  const registered = endsAs === 'COMPLETED';
  if (registered !== versions > 0) unmet.push(`${title}: ${versions} versions are registered`);
  if (registered !== result.safety.gate.passed)
    unmet.push(`${title}: the safety gate ${result.safety.gate.passed ? 'was passed' : 'failed'}`);
  if (!registered && result.evaluation !== undefined)
    unmet.push(`${title}: quality was evaluated behind a failed safety gate`);
  const rises = (name: string): boolean => (result.training[name] ?? Number.NaN) > (first[name] ?? Number.NaN);
  const raised =
    'validation.rewards/margins' in result.training ? 'validation.rewards/margins' : 'validation.objective/scores';
  if (registered && !rises(raised)) unmet.push(`${title}: ${raised} did not rise`);
  const kl = result.training['validation.objective/kl'] ?? 0;
  if (kl > KL_LIMIT) unmet.push(`${title}: ${kl.toFixed(1)} nats a response away from the base, more than ${KL_LIMIT}`);
  return unmet;
}
