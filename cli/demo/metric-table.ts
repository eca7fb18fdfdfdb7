import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { table } from './table.ts';
import { type Line, type Span, span } from './text-style.ts';

interface Compared {
  readonly evaluation: { readonly metrics: readonly EvaluationMetric[] };
  readonly comparisons: readonly { readonly label: string; readonly metrics: readonly EvaluationMetric[] }[];
}

/** Metrics of a model, beside each model it was compared with: value, difference and its standard error. */
export function comparisonTable(subject: string, { evaluation, comparisons }: Compared): Line[] {
  const head = ['metric', subject, ...comparisons.flatMap(({ label }) => [label, 'difference'])];
  const rows = evaluation.metrics.map((metric) => [
    metric.name,
    valueOf(metric.value, metric.standardError),
    ...comparisons.flatMap(({ metrics }) => cells(metrics.find(({ name }) => name === metric.name))),
  ]);
  return table(
    [head.map((title) => span(title, 'faint')), ...rows],
    ['left', ...head.slice(1).map(() => 'right' as const)],
  );
}

/** A row of text for each metric that has a value of its own only. */
export function metricTable(metrics: readonly EvaluationMetric[]): Line[] {
  return table(
    metrics.map(({ name, value, standardError, count }) => [name, valueOf(value, standardError), `${count} items`]),
    ['left', 'right', 'right'],
  );
}

function cells(metric: EvaluationMetric | undefined): (string | Span)[] {
  if (metric?.baselineValue === undefined || metric.delta === undefined) return ['', ''];
  const better = metric.higherIsBetter ? metric.delta > 0 : metric.delta < 0;
  const sure = metric.deltaStandardError !== undefined && Math.abs(metric.delta) > 2 * metric.deltaStandardError;
  const text = `${metric.delta >= 0 ? '+' : ''}${valueOf(metric.delta, metric.deltaStandardError ?? null)}`;
  return [metric.baselineValue.toFixed(3), span(text, sure ? (better ? 'good' : 'bad') : 'plain')];
}

const valueOf = (value: number, standardError: number | null): string =>
  standardError === null ? value.toFixed(3) : `${value.toFixed(3)} ± ${standardError.toFixed(3)}`;
