import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { MetricEntry } from './mlflow-answers.ts';
import type { MlflowCall } from './mlflow-client.ts';
import { linkOfRun, type RunPlace } from './mlflow-run-links.ts';
import { getRun, logBatches, metricHistory, type MlflowPoint } from './mlflow-runs-api.ts';
import type { MetricPoint } from './port.ts';

/**
 * MR-4 on a store that only appends: MLflow keeps every value of a step, so points that are there already are not sent, and a value that
 * replaces another gets a later timestamp. The caller holds the lease of the run. What is new beyond the last step of its metric, which is
 * what training sends, costs no look into the history. `NotFound` for a run that was never upserted.
 */
export async function logMlflowMetrics(
  work: { readonly database: Database; readonly call: MlflowCall; readonly place: RunPlace },
  points: readonly MetricPoint[],
): Promise<void> {
  const { database, call, place } = work;
  const known = await linkOfRun(database, place);
  const run = known === null ? null : await getRun(call, known);
  if (run === null)
    throw new TrainyardError('NotFound', `project ${place.project} has no run ${place.runId}`, {
      details: { project: place.project, runId: place.runId },
    });
  const lastStep = new Map((run.data.metrics ?? []).map(({ key, step }) => [key, step ?? 0]));
  const now = Date.now();
  const news: MlflowPoint[] = [];
  for (const [name, steps] of lastValues(points)) {
    const last = lastStep.get(name) ?? -1;
    const mayExist = [...steps.keys()].some((step) => step <= last);
    const shown = latestByStep(mayExist ? await metricHistory(call, run.info.run_id, name) : []);
    for (const [step, value] of steps) {
      const former = shown.get(step);
      if (former?.value === value) continue;
      news.push({ key: name, step, value, timestamp: Math.max(now, (former?.timestamp ?? 0) + 1) });
    }
  }
  await logBatches(call, run.info.run_id, { metrics: news });
}

/** By name, then step; empty for a run that is not known. */
export async function readMlflowMetrics(database: Database, call: MlflowCall, place: RunPlace): Promise<MetricPoint[]> {
  const known = await linkOfRun(database, place);
  const run = known === null ? null : await getRun(call, known);
  if (run === null) return [];
  const names = (run.data.metrics ?? []).map(({ key }) => key).sort((a, b) => (a < b ? -1 : 1));
  const points: MetricPoint[] = [];
  for (const name of names) {
    const values = latestByStep(await metricHistory(call, run.info.run_id, name));
    for (const [step, { value }] of [...values].sort(([a], [b]) => a - b)) points.push({ name, step, value });
  }
  return points;
}

/** By name, then step: the last value of one call. */
function lastValues(points: readonly MetricPoint[]): Map<string, Map<number, number>> {
  const byName = new Map<string, Map<number, number>>();
  for (const { name, step, value } of points) {
    const steps = byName.get(name) ?? new Map<number, number>();
    byName.set(name, steps.set(step, value));
  }
  return byName;
}

/** The value of each step that counts: the one with the latest timestamp. */
function latestByStep(entries: readonly MetricEntry[]): Map<number, MetricEntry> {
  const latest = new Map<number, MetricEntry>();
  for (const entry of entries) {
    const step = entry.step ?? 0;
    const known = latest.get(step);
    if (known === undefined || entry.timestamp >= known.timestamp) latest.set(step, entry);
  }
  return latest;
}
